import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';

import vueI18n from '@intlify/unplugin-vue-i18n/vite';
import vue from '@vitejs/plugin-vue';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

import { OUT } from './out.mjs';

const SERVER = process.env.GPTLOAD_URL ?? 'http://127.0.0.1:3001';

/**
 * Names the constant <style> texts in what is bundled, for the Content-Security-Policy.
 * Taken from the code that really ships, so that an update of a library can't break it silently.
 */
function stylesForPolicy(): Plugin {
  return {
    name: 'styles-for-policy',
    apply: 'build',
    generateBundle(_, bundle) {
      const texts = new Set<string>();
      for (const part of Object.values(bundle)) {
        if (part.type !== 'chunk') continue;
        for (const [, text] of part.code.matchAll(/[`"'](\s*\/\* Hide scrollbars[^`"']+)[`"']/g)) {
          texts.add(text!.replaceAll('\\n', '\n'));
        }
      }
      const hashes = [...texts]
        .map((text) => `sha256-${createHash('sha256').update(text).digest('base64')}`)
        .sort();
      this.emitFile({
        type: 'asset',
        fileName: 'csp.json',
        source: JSON.stringify({ 'style-src': hashes }),
      });
    },
  };
}

export default defineConfig({
  base: '/',
  plugins: [
    vue(),
    vueI18n({
      include: fileURLToPath(new URL('src/**/texts/*.json', import.meta.url)),
      runtimeOnly: true,
      dropMessageCompiler: true,
      strictMessage: true,
      fullInstall: false,
    }),
    stylesForPolicy(),
  ],
  resolve: { alias: { '@': fileURLToPath(new URL('src', import.meta.url)) } },
  define: {
    __VUE_OPTIONS_API__: false,
    __VUE_PROD_DEVTOOLS__: false,
  },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
    rolldownOptions: {
      output: {
        // What changes rarely stays in the browser's cache over releases.
        codeSplitting: {
          groups: [
            { name: 'vue', test: /node_modules\/(@vue|vue|vue-router|vue-i18n|@intlify)\// },
            { name: 'icons', test: /node_modules\/@lucide\// },
            { name: 'uplot', test: /node_modules\/uplot\// },
            // What the shell and most pages share: by file, it would be dozens of requests. What
            // only some pages have stays out, or everybody would load it at once.
            {
              name: 'kit',
              test: /src\/(?:api|composables|lib|ui)\/(?!Checkbox|ColumnsMenu|Combobox|DataGrid|Drawer|GridHead|MultiSelect|NumberInput|RadioList|Segmented|Switch|Tabs|TextArea|widths)[^/]*\.(ts|vue)/,
            },
          ],
        },
      },
    },
  },
  worker: { format: 'es' },
  server: { proxy: { '/api': SERVER, '/health': SERVER } },
  test: {
    // Tests of parts begin with: // @vitest-environment jsdom
    environment: 'node',
    include: ['src/**/*.test.ts'],
    setupFiles: ['src/test-setup.ts'],
    css: false,
  },
});

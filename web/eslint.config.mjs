import { readdirSync } from 'node:fs';

import prettier from 'eslint-config-prettier';
import vue from 'eslint-plugin-vue';
import a11y from 'eslint-plugin-vuejs-accessibility';
import ts from 'typescript-eslint';

const features = readdirSync(new URL('src/features', import.meta.url));

/** Who may not import what, and why: docs/architecture.md keeps rooms apart, so do we. */
function border(files, forbidden, message) {
  return {
    files: files.map((folder) => `src/${folder}/**/*.{ts,vue}`),
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [{ group: forbidden, message }] }],
    },
  };
}

export default ts.config(
  { ignores: ['node_modules', 'src/api/schema.d.ts'] },
  ...ts.configs.strict,
  ...vue.configs['flat/recommended'],
  ...a11y.configs['flat/recommended'],
  {
    files: ['**/*.vue'],
    languageOptions: { parserOptions: { parser: ts.parser } },
  },
  {
    rules: {
      // Types are Vue's own business; vue-tsc checks them.
      'no-undef': 'off',
      'vue/multi-word-component-names': 'off',
      'vue/require-default-prop': 'off',
      'vue/no-v-html': 'error',
      // A written style attribute breaks the Content-Security-Policy; a bound :style doesn't.
      'vue/no-static-inline-styles': ['error', { allowBinding: true }],
      'vue/block-order': ['error', { order: ['script', 'template', 'style'] }],
      'vue/component-api-style': ['error', ['script-setup']],
      // Our Field ties label and control by id, which the rule can't see.
      'vuejs-accessibility/label-has-for': 'off',
      'vuejs-accessibility/form-control-has-label': 'off',
      'vuejs-accessibility/no-autofocus': 'off',
      'vuejs-accessibility/no-static-element-interactions': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { varsIgnorePattern: '^_', argsIgnorePattern: '^_' },
      ],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-dynamic-delete': 'off',
      'no-restricted-globals': [
        'error',
        { name: 'fetch', message: 'Use @/api/client: it opens the envelope and knows 401.' },
      ],
    },
  },
  { files: ['src/api/**'], rules: { 'no-restricted-globals': 'off' } },
  border(
    ['lib'],
    ['vue', 'vue-*', '@/api/**', '@/ui/**', '@/composables/**', '@/features/**', '@/app/**'],
    'lib is pure: nothing but arguments.',
  ),
  border(
    ['ui'],
    ['@/api/**', '@/features/**', '@/app/**', '@/composables/use{Live,Range,UrlState,Action}*'],
    'ui knows no feature and no API.',
  ),
  border(
    ['api'],
    ['@/ui/**', '@/features/**', '@/app/**', '@/composables/**'],
    'api shows nothing.',
  ),
  border(['composables'], ['@/features/**', '@/app/**'], 'composables know no feature.'),
  ...features.map((own) =>
    border(
      [`features/${own}`],
      [
        '@/app/**',
        'reka-ui',
        'uplot',
        ...features
          .filter((other) => other !== own)
          .flatMap((other) => [`@/features/${other}`, `@/features/${other}/**`]),
        '../../../features/**',
        '../../features/**',
      ],
      'Features never import each other, the app, or the libraries under ui: they meet in lib, ui, api, composables and links.',
    ),
  ),
  prettier,
);

import '@/ui/tokens.css';
import '@/ui/base.css';
import '@/ui/controls.css';

import { VueQueryPlugin } from '@tanstack/vue-query';
import { createApp } from 'vue';

import App from './App.vue';
import { i18n, preferredLocale, setLocale, wantAllTexts } from './i18n';
import { queryClient } from './queryClient';
import { router } from './router';
import { chunkFailed } from './version';

window.addEventListener('vite:preloadError', (event) => {
  event.preventDefault();
  chunkFailed('Unable to preload');
});

await setLocale(preferredLocale());
createApp(App).use(i18n).use(VueQueryPlugin, { queryClient }).use(router).mount('#app');

// While nobody waits for it, so that the next page opens at once.
setTimeout(() => void wantAllTexts().catch(() => undefined), 5000);

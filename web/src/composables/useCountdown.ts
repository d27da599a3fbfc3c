import { onScopeDispose, readonly, ref, type Ref } from 'vue';

/**
 * The time, epoch ms, by the second: one timer a page for whoever counts down or up.
 *
 * ```ts
 * const now = useNow();
 * const left = computed(() => countdown((until - now.value) / 1000));
 * ```
 */
const now = ref(Date.now());
let users = 0;
let timer: ReturnType<typeof setInterval> | undefined;

export function useNow(): Readonly<Ref<number>> {
  users += 1;
  if (users === 1) {
    now.value = Date.now();
    timer = setInterval(() => {
      now.value = Date.now();
    }, 1000);
  }
  onScopeDispose(() => {
    users -= 1;
    if (users === 0) clearInterval(timer);
  });
  return readonly(now);
}

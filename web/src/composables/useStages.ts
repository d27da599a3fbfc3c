import { onMounted, onScopeDispose, readonly, type Ref, ref } from 'vue';

/**
 * 0 at first, and one more each time that a frame was painted, up to `last`: what is heavy to
 * build waits its turn, so that what is read first is seen first.
 */
export function useStages(last: number): Readonly<Ref<number>> {
  const stage = ref(0);
  let frame = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function next(): void {
    frame = requestAnimationFrame(() => {
      // Behind the paint that follows the frame's callbacks.
      timer = setTimeout(() => {
        stage.value += 1;
        if (stage.value < last) next();
      });
    });
  }

  onMounted(next);
  onScopeDispose(() => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  });
  return readonly(stage);
}

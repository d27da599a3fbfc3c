import { useIntersectionObserver } from '@vueuse/core';
import { computed, nextTick, type Ref, ref } from 'vue';

/**
 * Which part of a long page one looks at, and the way to another.
 *
 * @param root - holds the parts.
 * @param ids - of the parts' elements, in order.
 */
export function useScrollSpy(root: Ref<HTMLElement | undefined>, ids: () => readonly string[]) {
  const current = ref(ids()[0] ?? '');
  const places = computed(() =>
    ids().flatMap((id) => root.value?.querySelector<HTMLElement>(`#${id}`) ?? []),
  );
  useIntersectionObserver(
    places,
    (seen) => {
      const first = seen.find(({ isIntersecting }) => isIntersecting);
      if (first) current.value = first.target.id;
    },
    { rootMargin: '-10% 0px -75% 0px' },
  );

  async function goTo(id: string): Promise<void> {
    await nextTick();
    root.value?.querySelector(`#${id}`)?.scrollIntoView({ block: 'start' });
    current.value = id;
  }
  return { current, goTo };
}

import { shallowRef } from 'vue';

/** What is asked before a deed. The button names the deed: "Delete 1,204 keys". */
export interface Question {
  title: string;
  /** What happens, to traffic too. */
  text?: string;
  /** Names or consequences, one a line. */
  items?: string[];
  button: string;
  kind?: 'danger';
  /** What has to be typed first, such as the group's name: for what can't be taken back. */
  typed?: string;
}

interface Asked extends Question {
  answer: (is: boolean) => void;
}

/** The open question; ConfirmHost shows it. */
export const asked = shallowRef<Asked | null>(null);

/** Ask before a deed. A second question refuses the first. */
export function confirm(question: Question): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (is) => {
        asked.value = null;
        resolve(is);
      },
    };
  });
}

import { MediaQuery } from 'svelte/reactivity';

export type ThemeChoice = 'system' | 'light' | 'dark';

/** The same key is read by static/theme.js before the first paint. */
const KEY = 'rookery.theme';
const systemDark = new MediaQuery('prefers-color-scheme: dark');

function stored(): ThemeChoice {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system';
  }
}

let choice = $state<ThemeChoice>(stored());

export const theme = {
  get choice(): ThemeChoice {
    return choice;
  },
  get dark(): boolean {
    return choice === 'dark' || (choice === 'system' && systemDark.current);
  },
  choose(next: ThemeChoice): void {
    choice = next;
    try {
      if (next === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, next);
    } catch {
      // It still holds for this page.
    }
  },
};

import { createSubscriber } from 'svelte/reactivity';

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1_000);
  return () => clearInterval(timer);
});

/** The time in milliseconds, ticking once a second wherever it is read reactively. One timer for the whole page. */
export const clock = {
  get now(): number {
    subscribe();
    return Date.now();
  },
};

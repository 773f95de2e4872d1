import { prefersReducedMotion } from 'svelte/motion';

/** Milliseconds of a transition: none for people who asked for less motion. */
export function motion(milliseconds: number): number {
  return prefersReducedMotion.current ? 0 : milliseconds;
}

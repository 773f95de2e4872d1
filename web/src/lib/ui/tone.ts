/** What a colour means. The design system knows these five and no domain word. */
export type Tone = 'ok' | 'warn' | 'bad' | 'info' | 'idle';

/** Ground and text of a pill in a tone; each pair meets AA in both themes. */
export const pillTone: Record<Tone, string> = {
  ok: 'bg-ok-soft text-ok',
  warn: 'bg-warn-soft text-warn',
  bad: 'bg-bad-soft text-bad',
  info: 'bg-accent-soft text-accent',
  idle: 'bg-sunken text-muted ring-1 ring-inset ring-line',
};

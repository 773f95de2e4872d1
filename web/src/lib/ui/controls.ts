/** The look of a text input or select; kept as one string because both are native elements used in many places. */
export const controlClass =
  'h-9 w-full min-w-0 rounded-md border border-line-strong bg-surface px-3 text-ink transition-colors ' +
  'hover:border-faint focus:border-accent focus:outline-2 focus:outline-offset-0 focus:outline-accent/25 ' +
  'aria-invalid:border-bad disabled:cursor-not-allowed disabled:opacity-60';

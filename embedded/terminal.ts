/** What `npm start` tells the person who typed it. Log lines go to stderr; this is stdout. */

const colour = process.stdout.isTTY && !process.env['NO_COLOR'];
const paint =
  (code: number) =>
  (text: string): string =>
    colour ? `\u001b[${code}m${text}\u001b[0m` : text;

export const bold = paint(1);
export const dim = paint(2);
export const green = paint(32);
export const yellow = paint(33);

/** One finished step or fact. */
export const done = (text: string): void => console.log(`${green('✓')} ${text}`);

/** Something to know that is not quite as it should be. */
export const warn = (text: string): void => console.log(`${yellow('!')} ${text}`);

/** A step that takes time has begun. */
export const begin = (text: string): void => console.log(`${dim('…')} ${text}`);

/** Announces a step, runs it, and says how long it took when that was noticeable. */
export async function step<T>(text: string, work: () => Promise<T>): Promise<T> {
  begin(text);
  const started = performance.now();
  const result = await work();
  const seconds = (performance.now() - started) / 1_000;
  done(`${text} ${dim(`(${seconds.toFixed(1)} s)`)}`);
  return result;
}

import { describe, expect, it } from 'vitest';
import { CommandOutput } from './command-output.ts';

const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes as string).toString('base64');
const textOf = (output: CommandOutput): string => output.pieces.map(({ text }) => text).join('');

describe('the output of a command', () => {
  it('keeps both streams in the order they came', () => {
    const output = new CommandOutput();
    output.add('STDOUT', base64('one '));
    output.add('STDOUT', base64('two '));
    output.add('STDERR', base64('oops '));
    output.add('STDOUT', base64('three'));
    expect(output.pieces.map(({ stream, text }) => `${stream}:${text}`)).toEqual([
      'STDOUT:one two ',
      'STDERR:oops ',
      'STDOUT:three',
    ]);
    expect(output.cut).toBe(0);
  });

  it('puts a character together whose bytes came in two chunks, with the other stream in between', () => {
    const output = new CommandOutput();
    const [snowman] = [Buffer.from('☃')];
    output.add('STDOUT', base64(snowman!.subarray(0, 1)));
    output.add('STDERR', base64('!'));
    output.add('STDOUT', base64(snowman!.subarray(1)));
    output.end();
    expect(textOf(output)).toBe('!☃');
  });

  it('shows half a character that never became one', () => {
    const output = new CommandOutput();
    output.add('STDOUT', base64(Buffer.from('☃').subarray(0, 2)));
    output.end();
    expect(textOf(output)).toBe('\uFFFD');
  });

  it('keeps the end of what is long, and says how much it has cut', () => {
    const keep = 10_000;
    const output = new CommandOutput(keep);
    let all = '';
    for (let n = 0; n < 4_000; n++) {
      const line = `line ${n}\n`;
      all += line;
      output.add(n % 7 ? 'STDOUT' : 'STDERR', base64(line));
    }
    expect(all.endsWith(textOf(output))).toBe(true);
    expect(output.cut + textOf(output).length).toBe(all.length);
    expect(textOf(output).length).toBeGreaterThanOrEqual(keep);
    expect(textOf(output).length).toBeLessThan(keep + 4 * 1024);
  });

  it('keeps one chunk that is larger than all it may keep to its end', () => {
    const output = new CommandOutput(5_000);
    output.add('STDOUT', base64(`${'x'.repeat(60_000)}end`));
    expect(textOf(output).endsWith('end')).toBe(true);
    expect(textOf(output).length).toBeLessThan(5_000 + 4 * 1024);
  });

  it('leaves the pieces alone that did not change', () => {
    const output = new CommandOutput();
    output.add('STDOUT', base64('a'));
    output.add('STDERR', base64('b'));
    const [first] = output.pieces;
    output.add('STDERR', base64('c'));
    expect(output.pieces[0]).toBe(first);
  });
});

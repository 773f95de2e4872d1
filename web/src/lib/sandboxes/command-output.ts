import type { ExecStreamName } from '#lib/gql/generated/graphql.ts';

/**
 * Characters of one command's output that a page keeps. More lets one scroll back further and costs memory and
 * layout with each of the commands shown.
 */
export const KEPT_AT_MOST = 128 * 1024;

/**
 * Characters in one piece, which is what is drawn anew when more comes. Smaller means more elements, larger more
 * text to lay out again.
 */
const PIECE_AT_MOST = 4 * 1024;

/** Some text of one stream. */
export interface OutputPiece {
  readonly id: number;
  readonly stream: ExecStreamName;
  readonly text: string;
}

/**
 * What a command has printed on both streams, as it came, of which the end is kept.
 *
 * Plain TypeScript; pieces are never changed, only replaced, so that comparing them tells what to draw.
 */
export class CommandOutput {
  #pieces: OutputPiece[] = [];
  #length = 0;
  #cut = 0;
  #nextId = 1;
  // A chunk may end in the middle of a character: each stream is read as text on its own.
  readonly #decoders: Readonly<Record<ExecStreamName, TextDecoder>> = {
    STDOUT: new TextDecoder(),
    STDERR: new TextDecoder(),
  };
  readonly #keep: number;

  /** @param keep characters; a piece more may be kept. */
  constructor(keep = KEPT_AT_MOST) {
    this.#keep = keep;
  }

  get pieces(): readonly OutputPiece[] {
    return this.#pieces;
  }

  /** How many characters came before the first piece. */
  get cut(): number {
    return this.#cut;
  }

  /** @param data base64, as it travels. */
  add(stream: ExecStreamName, data: string): void {
    this.#append(
      stream,
      this.#decoders[stream].decode(
        Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0)),
        { stream: true },
      ),
    );
  }

  /** Nothing more comes: half a character that is left over is shown as what it is. */
  end(): void {
    for (const stream of ['STDOUT', 'STDERR'] as const) this.#append(stream, this.#decoders[stream].decode());
  }

  #append(stream: ExecStreamName, text: string): void {
    const last = this.#pieces.at(-1);
    const pieces = [...this.#pieces];
    let rest = text;
    if (last?.stream === stream && last.text.length < PIECE_AT_MOST) {
      const room = PIECE_AT_MOST - last.text.length;
      pieces[pieces.length - 1] = { ...last, text: last.text + rest.slice(0, room) };
      rest = rest.slice(room);
    }
    for (; rest; rest = rest.slice(PIECE_AT_MOST))
      pieces.push({ id: this.#nextId++, stream, text: rest.slice(0, PIECE_AT_MOST) });
    this.#length += text.length;
    let dropped = 0;
    while (this.#length - (pieces[dropped]?.text.length ?? 0) >= this.#keep) {
      const { length } = pieces[dropped++]!.text;
      this.#length -= length;
      this.#cut += length;
    }
    this.#pieces = pieces.slice(dropped);
  }
}

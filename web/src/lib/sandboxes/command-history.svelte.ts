import { mutate } from '#lib/gql/client.ts';
import { describeError } from '#lib/gql/errors.ts';
import type { ExecInSandboxMutation as ExecData } from '#lib/gql/generated/graphql.ts';
import { ExecInSandboxMutation } from './sandbox.operations.ts';

type Completed = Extract<ExecData['execInSandbox'], { __typename: 'ExecCompleted' }>;

export interface CommandRun {
  readonly id: number;
  readonly line: string;
  readonly outcome:
    | { readonly kind: 'running' }
    | { readonly kind: 'completed'; readonly result: Completed }
    | { readonly kind: 'refused'; readonly message: string };
}

/** The commands of one page view, oldest first, and the lines to go back to with the arrow keys. */
export class CommandHistory {
  runs = $state.raw<readonly CommandRun[]>([]);
  #nextId = 1;
  /** Position in the typed lines while going back; one past the last when not. */
  #recall = 0;

  constructor(readonly sandboxId: string) {}

  get running(): boolean {
    return this.runs.some((run) => run.outcome.kind === 'running');
  }

  /** Runs the line by a shell, as a person means it. */
  async run(line: string): Promise<void> {
    const id = this.#nextId++;
    this.runs = [...this.runs, { id, line, outcome: { kind: 'running' } }];
    this.#recall = this.runs.length;
    try {
      const input = { sandboxId: this.sandboxId, command: ['/bin/sh', '-c', line] };
      const { execInSandbox: result } = await mutate(ExecInSandboxMutation, { input });
      if (result.__typename === 'ExecCompleted') this.#settle(id, { kind: 'completed', result });
      else this.#settle(id, { kind: 'refused', message: result.message });
    } catch (error) {
      this.#settle(id, { kind: 'refused', message: describeError(error) });
    }
  }

  clear(): void {
    this.runs = this.runs.filter((run) => run.outcome.kind === 'running');
    this.#recall = this.runs.length;
  }

  /** The line one step back (-1) or forward (1); empty past the last one, null when there is nothing further back. */
  recall(step: -1 | 1): string | null {
    const next = this.#recall + step;
    if (next < 0) return null;
    this.#recall = Math.min(next, this.runs.length);
    return this.runs[this.#recall]?.line ?? '';
  }

  #settle(id: number, outcome: CommandRun['outcome']): void {
    this.runs = this.runs.map((run) => (run.id === id ? { ...run, outcome } : run));
  }
}

import type { AgentModel, Held, Issued, World } from './credential-world.ts';

/** What a thief may do; `pick` chooses with what. */
export const THEFTS = ['refresh', 'register', 'use', 'replay'] as const;
export interface Theft {
  readonly theft: (typeof THEFTS)[number];
  readonly pick: number;
}

/**
 * Somebody who has copied a state directory and can read the network: has the key, every token of
 * before, chooses numbers freely, follows no rule, and keeps the answers to whatever message they deliver.
 */
export class Thief {
  readonly #copy: AgentModel;
  readonly #world: World;
  readonly #known: Held[] = [];
  #lastSequence = 0;

  constructor(world: World, victim: AgentModel, machineId: string | null) {
    this.#world = world;
    this.#copy = victim.copy(machineId);
    if (victim.saved) this.#known.push(victim.saved);
  }

  async act({ theft, pick }: Theft): Promise<void> {
    const { control, requests } = this.#world;
    const held = this.#known[pick % Math.max(this.#known.length, 1)];
    switch (theft) {
      case 'refresh':
        if (held) this.#learn(await control.refresh({ ...this.#prove(pick), refreshToken: held.refreshToken }));
        return;
      case 'register': {
        const token = this.#copy.spentToken;
        if (token !== undefined)
          this.#learn(await control.register({ ...this.#prove(pick), token, claims: pick % 2 === 0 }));
        return;
      }
      case 'use':
        if (held) await control.use(held.accessToken);
        return;
      case 'replay': {
        const said = await this.#world.deliver(pick % Math.max(requests.length, 1), 'crash-after-commit');
        if (typeof said === 'object') this.#learn(said);
      }
    }
  }

  /** Tries everything there is to try. @returns what was granted. */
  async tryAll(): Promise<unknown[]> {
    const gains: unknown[] = [];
    const before = this.#known.length;
    for (let pick = 0; pick < this.#known.length * NUMBERS; pick++) {
      for (const theft of ['refresh', 'register'] as const) await this.act({ theft, pick });
      const held = this.#known[pick % this.#known.length];
      if (held && (await this.#world.control.use(held.accessToken))) gains.push(held.accessToken);
    }
    return [...gains, ...this.#known.slice(before)];
  }

  #learn(answer: Issued): void {
    if ('lastSequence' in answer) this.#lastSequence = answer.lastSequence;
    if ('issued' in answer) this.#known.push(answer.issued);
  }

  #prove(pick: number) {
    const { key, machineId } = this.#copy;
    const last = this.#lastSequence;
    const numbers = [last + 1, Number.MAX_SAFE_INTEGER, last + 1, 0, last + 2, last, last + 1_000];
    const sequence = numbers[Math.floor(pick / Math.max(this.#known.length, 1)) % NUMBERS] as number;
    return { key, machineId, sequence };
  }
}

/** How many numbers there are to choose from. */
const NUMBERS = 7;

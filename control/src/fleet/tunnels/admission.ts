import type { Logger } from '@rookery/wire/log.ts';
import type { Machine } from '../enrolment/enrolment.rows.ts';
import type { Enrolment } from '../enrolment/enrolment.service.ts';
import type { Claimant, TunnelBooks } from './tunnel.books.ts';
import type { TunnelFacts } from './tunnel.rows.ts';

/** An agent process that has dialled a tunnel. */
export type Newcomer = Claimant & Machine & { readonly familyId: string };

/**
 * What came of asking the agent behind the tunnel that a host has.
 *
 * `SILENT`: it did not answer, as when its machine lost power. `UNTOLD`: the control process that holds the
 * tunnel could not be asked although it lives.
 */
export type Answer =
  | { readonly kind: 'ANSWERED'; readonly instance: string; readonly bootId: string }
  | { readonly kind: 'SILENT' | 'UNTOLD' };

export type Decision = 'ADMIT' | 'ASK' | 'QUARANTINE' | 'REFUSE' | 'WAIT';

/**
 * Decides about a tunnel. Pure.
 *
 * INVARIANT: an agent that is connected and answers is never replaced by another one.
 *
 * @param answer of the agent that the facts name; undefined while it has not been asked.
 */
export function decideAdmission(
  facts: Pick<TunnelFacts, 'holder' | 'instance' | 'quarantinedAt'>,
  instance: string,
  answer: Answer | undefined,
): Decision {
  if (facts.quarantinedAt) return 'REFUSE';
  // Nobody is connected, or the same process dials again: a connection that broke without a word, for example.
  if (facts.holder === null || facts.instance === instance) return 'ADMIT';
  if (!answer) return 'ASK';
  if (answer.kind === 'ANSWERED') return answer.instance === instance ? 'ADMIT' : 'QUARANTINE';
  return answer.kind === 'SILENT' ? 'ADMIT' : 'WAIT';
}

export type Admission =
  | { readonly kind: 'ADMITTED'; readonly generation: number }
  | { readonly kind: 'SECOND_AGENT' | 'QUARANTINED' | 'GONE' | 'WAIT' };

/** How often the facts may change under a decision before the agent is asked to come again. */
const MAX_ROUNDS = 5;

export interface TunnelAdmissionDeps {
  readonly books: Pick<TunnelBooks, 'read' | 'claim'>;
  readonly enrolment: () => Pick<Enrolment, 'secondAgent'>;
  readonly log: Logger;
}

/**
 * Lets agents' tunnels in: one agent process per host, whichever replica it dials. Two that are both
 * there are for the host's owner to tell apart, so the host goes into quarantine.
 */
export class TunnelAdmission {
  readonly #deps: TunnelAdmissionDeps;

  constructor(deps: TunnelAdmissionDeps) {
    this.#deps = deps;
  }

  /** @param ask asks the agent behind the tunnel that the holder has. */
  async admit(hostId: string, newcomer: Newcomer, ask: (holder: string) => Promise<Answer>): Promise<Admission> {
    const { books, enrolment, log } = this.#deps;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const facts = await books.read(hostId);
      if (!facts) return { kind: 'GONE' };
      let answer: Answer | undefined;
      let decision = decideAdmission(facts, newcomer.instance, answer);
      if (decision === 'ASK') {
        answer = await ask(facts.holder as string);
        log.info(
          { hostId, answer: answer.kind },
          'another agent of a connected host dials; the connected one was asked',
        );
        decision = decideAdmission(facts, newcomer.instance, answer);
      }
      if (decision === 'REFUSE') return { kind: 'QUARANTINED' };
      if (decision === 'WAIT') return { kind: 'WAIT' };
      if (decision === 'QUARANTINE' && answer?.kind === 'ANSWERED') {
        const incumbent = { bootId: answer.bootId, address: facts.address };
        const done = await enrolment().secondAgent(hostId, facts.generation, incumbent, newcomer);
        if (done) return { kind: 'SECOND_AGENT' };
        continue;
      }
      const generation = await books.claim(hostId, facts.generation, newcomer);
      if (generation !== undefined) return { kind: 'ADMITTED', generation };
    }
    return { kind: 'WAIT' };
  }
}

import { mutate, query } from '#lib/gql/client.ts';
import { describeError } from '#lib/gql/errors.ts';
import type { DeleteHostInput, SandboxStatus } from '#lib/gql/generated/graphql.ts';
import { DeleteHostMutation, HostDeletionPreviewQuery } from './host.operations.ts';

interface AffectedSandbox {
  readonly id: string;
  readonly name: string;
  readonly status: SandboxStatus;
}

/**
 * One run of the deletion dialog: look at what would go, show it, delete exactly that. When the set has grown since
 * it was shown, the server refuses and the new set is shown instead.
 */
export class HostDeletion {
  affected = $state.raw<readonly AffectedSandbox[] | null>(null);
  /** The list was replaced because it grew after it was shown. */
  grew = $state(false);
  busy = $state(false);
  problem = $state<string | null>(null);
  #digest: string | null = null;

  constructor(readonly hostId: string) {}

  /** Reads what would be destroyed. */
  async preview(): Promise<void> {
    this.problem = null;
    try {
      const { host } = await query(HostDeletionPreviewQuery, { id: this.hostId });
      if (!host) this.problem = 'This host does not exist any more.';
      else this.#show(host.deletionPreview.affectedSandboxes, host.deletionPreview.previewDigest);
    } catch (error) {
      this.problem = describeError(error);
    }
  }

  /** @returns how many sandboxes went with the host, or null when it was not deleted. */
  async confirm(): Promise<number | null> {
    if (this.affected === null) return null;
    this.busy = true;
    this.problem = null;
    try {
      const force = this.affected.length > 0;
      const input: DeleteHostInput = { hostId: this.hostId, force, previewDigest: this.#digest };
      const { deleteHost: result } = await mutate(DeleteHostMutation, { input });
      if (result.__typename === 'HostDeleted') return result.destroyedSandboxes.length;
      if (result.__typename === 'HostHasSandboxes') {
        this.#show(result.affectedSandboxes, result.previewDigest);
        this.grew = true;
      } else this.problem = result.message;
    } catch (error) {
      this.problem = describeError(error);
    } finally {
      this.busy = false;
    }
    return null;
  }

  #show(affected: readonly AffectedSandbox[], digest: string): void {
    this.affected = affected;
    this.#digest = digest;
  }
}

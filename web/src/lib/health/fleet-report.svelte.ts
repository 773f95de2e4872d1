import { query } from '#lib/gql/client.ts';
import type { FleetReportQuery as ReportData } from '#lib/gql/generated/graphql.ts';
import { FleetReportQuery } from './health.operations.ts';

export type FleetReport = NonNullable<ReportData['fleetHealth']>;
export type ReplicaReport = NonNullable<FleetReport['replicas']>[number];
export type LoopReport = ReplicaReport['loops'][number];

/** The whole of the fleet's health, as often as it is read: counts and loops are no events. */
export class FleetReading {
  /** Null until it was read, and while the server has not looked at the fleet yet. */
  value = $state.raw<FleetReport | null>(null);
  loaded = $state(false);
  problem = $state.raw<Error | null>(null);
  /** When it was read last, by this browser's clock. */
  readAt = $state.raw<number | null>(null);
  #reading = 0;

  async read(): Promise<void> {
    const reading = ++this.#reading;
    try {
      const { fleetHealth } = await query(FleetReportQuery, {});
      if (reading !== this.#reading) return;
      this.value = fleetHealth ?? null;
      this.readAt = Date.now();
      this.loaded = true;
      this.problem = null;
    } catch (error) {
      if (reading === this.#reading) this.problem = error instanceof Error ? error : new Error(String(error));
    }
  }
}

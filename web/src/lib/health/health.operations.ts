import { graphql } from '#lib/gql/generated/gql.ts';

/** How far what is shown of hosts and sandboxes can be trusted; for everybody. */
export const HealthFields = graphql(/* GraphQL */ `
  fragment HealthFields on FleetHealth {
    state
    reason
    since
    checkedAt
    heardHosts
    silentHosts
    lostHosts
    unreachableHosts
  }
`);

export const FleetHealthQuery = graphql(/* GraphQL */ `
  query FleetHealth {
    fleetHealth {
      ...HealthFields
    }
  }
`);

export const FleetHealthChangedSubscription = graphql(/* GraphQL */ `
  subscription FleetHealthChanged($after: String) {
    fleetHealthChanged(after: $after) {
      cursor
      fleetHealth {
        ...HealthFields
      }
    }
  }
`);

/** For platform admins: the same, and how the work of every control process goes. */
export const FleetReportQuery = graphql(/* GraphQL */ `
  query FleetReport {
    fleetHealth {
      ...HealthFields
      orphans
      replicas {
        id
        startedAt
        seenAt
        isLeader
        loops {
          name
          description
          periodMs
          standsBy
          runs
          lastRunAt
          lastDurationMs
          lastCount
          lastError
        }
      }
    }
  }
`);

-- One row for each alert that a run raised. What comes later about its number changes it: the first acknowledgement and
-- the first close count, and the last silence, decision, request for advice and escalation.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, recorded_at, actor->>'id' AS by, data, sealed, client_id,
           whole_number(data->>'alert') AS alert
    FROM slice
    WHERE type IN ('alert.raised', 'alert.acknowledged', 'alert.silenced', 'alert.closed', 'notification.decided',
                   'rebalancing.decided', 'alert.escalated')
      AND starts_with(stream, 'portfolio-') AND stream <> 'portfolio-'
),
later AS (
    SELECT raised.position AS id,
           min(act.position) FILTER (WHERE act.type = 'alert.acknowledged') AS acknowledged,
           max(act.position) FILTER (WHERE act.type = 'alert.silenced') AS silenced,
           min(act.position) FILTER (WHERE act.type = 'alert.closed') AS closed,
           max(act.position) FILTER (WHERE act.type = 'notification.decided') AS decided,
           max(act.position) FILTER (WHERE act.type = 'rebalancing.decided') AS advised,
           max(act.position) FILTER (WHERE act.type = 'alert.escalated') AS escalated,
           max(act.recorded_at) AS updated_at
    FROM acts raised
    JOIN acts act ON act.stream = raised.stream AND act.alert = raised.alert AND act.position > raised.position
    WHERE raised.type = 'alert.raised' AND act.type <> 'alert.raised'
    GROUP BY raised.position
)
SELECT
    raised.stream,
    raised.position AS id,
    substr(raised.stream, length('portfolio-') + 1) AS portfolio,
    raised.alert,
    raised.client_id,
    raised.data->>'rule' AS rule,
    raised.data->>'subject' AS subject,
    raised.data->>'cause' AS cause,
    CASE WHEN later.closed IS NOT NULL THEN 'closed'
         WHEN later.acknowledged IS NULL THEN 'open'
         WHEN coalesce(advised.data->>'cause', advised.data->>'outcome') IN ('opened', 'joined') THEN 'action-proposed'
         ELSE 'acknowledged' END AS state,
    whole_number(raised.data->>'run') AS run,
    raised.data->>'as_of' AS as_of,
    acknowledged.recorded_at AS acknowledged_at,
    acknowledged.by AS acknowledged_by,
    acknowledged.sealed->>'rationale' AS acknowledge_rationale,
    silenced.data->>'until' AS silenced_until,
    silenced.by AS silenced_by,
    silenced.sealed->>'reason' AS silence_reason,
    closed.recorded_at AS closed_at,
    closed.by AS closed_by,
    closed.data->>'reason' AS close_reason,
    closed.sealed->>'rationale' AS close_rationale,
    decided.data->'receivers' AS receivers,
    decided.data->>'reason' AS decided_reason,
    decided.data->>'until' AS decided_again_at,
    coalesce(advised.data->>'cause', advised.data->>'outcome') AS advice,
    whole_number(escalated.data->>'level') AS level,
    escalated.recorded_at AS escalated_at,
    raised.recorded_at AS created_at,
    coalesce(later.updated_at, raised.recorded_at) AS updated_at
FROM acts raised
LEFT JOIN later ON later.id = raised.position
LEFT JOIN acts acknowledged ON acknowledged.position = later.acknowledged
LEFT JOIN acts silenced ON silenced.position = later.silenced
LEFT JOIN acts closed ON closed.position = later.closed
LEFT JOIN acts decided ON decided.position = later.decided
LEFT JOIN acts advised ON advised.position = later.advised
LEFT JOIN acts escalated ON escalated.position = later.escalated
WHERE raised.type = 'alert.raised'

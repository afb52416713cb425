CREATE TABLE model_calls (
    stream                  text        NOT NULL,
    -- The ledger position of the event that recorded its start.
    id                      bigint      NOT NULL,
    -- Null where the call is in no request's stream.
    request_id              bigint,
    client_id               text,
    -- open, completed or failed
    state                   text        NOT NULL,
    -- Who recorded it.
    agent                   text        NOT NULL,
    operation_name          text        NOT NULL,
    provider_name           text        NOT NULL,
    request_model           text        NOT NULL,
    request_parameters      jsonb,
    agent_version           text,
    prompt_name             text,
    prompt_version          text,
    prompt_sha256           text,
    tool_definitions_sha256 text,
    shown                   jsonb,
    -- Up to which position the agent had read the ledger.
    as_of                   bigint,
    capture                 text        NOT NULL,
    mapper_version          text,
    trace_id                text,
    span_id                 text,
    -- As its sender wrote it, to the nanosecond.
    claimed_start           text,
    created_at              timestamptz NOT NULL,
    ended_position          bigint,
    ended_at                timestamptz,
    latency_ms              bigint,
    response_id             text,
    response_model          text,
    response_finish_reasons jsonb,
    usage_input_tokens      bigint,
    usage_output_tokens     bigint,
    error_type              text,
    recommendation_id       bigint
);

CREATE TABLE model_calls (
    stream                  text        NOT NULL,
    -- The ledger position of the event that recorded the start of the call.
    id                      bigint      NOT NULL,
    -- Null if the call is not in the stream of a request.
    request_id              bigint,
    client_id               text,
    -- open, completed or failed
    state                   text        NOT NULL,
    -- The actor that recorded the call.
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
    -- The position up to which the agent had read the ledger.
    as_of                   bigint,
    capture                 text        NOT NULL,
    mapper_version          text,
    trace_id                text,
    span_id                 text,
    -- The text as the sender of the span wrote it, to the nanosecond.
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
    usage_cache_read_input_tokens  bigint,
    usage_cache_write_input_tokens bigint,
    usage_reasoning_output_tokens  bigint,
    time_to_first_chunk_ms  bigint,
    error_type              text,
    recommendation_id       bigint,
    -- Of messages that came in log records, apart from the call.
    content_positions       bigint[]
);

-- Audit records in ClickHouse: one row for each copy that arrived, with the text as the proxy wrote it. The hash is of
-- that text, so nothing here
-- parses and writes it again. Fill it from files, or from what the Collector's exporter writes:
--   INSERT INTO careplane_audit (record) SELECT Body FROM otel_logs WHERE startsWith(Body, '{"chain":{"id":"')
CREATE TABLE careplane_audit
(
    record String CODEC(ZSTD(3)),
    chain UUID MATERIALIZED toUUIDOrZero(JSONExtractString(record, 'chain', 'id')),
    seq UInt64 MATERIALIZED JSONExtractUInt(record, 'chain', 'seq'),
    prev String MATERIALIZED JSONExtractString(record, 'chain', 'prev'),
    key String MATERIALIZED JSONExtractString(record, 'chain', 'key'),
    hash String MATERIALIZED JSONExtractString(record, 'hash'),
    kind LowCardinality(String) MATERIALIZED JSONExtractString(record, 'kind'),
    proxy String MATERIALIZED JSONExtractString(record, 'proxy', 'id'),
    time DateTime64(6, 'UTC') MATERIALIZED parseDateTime64BestEffortOrZero(JSONExtractString(record, 'time'), 6, 'UTC'),
    -- The hash that the text should carry: of it without its own member, behind a zero. White space around it is not of
    -- it: lines of files end in a carriage return, too. Of keyed chains the key is not here.
    expected String MATERIALIZED lower(hex(SHA256(concat(
        '\0', replaceOne(trim(BOTH ' \t\r\n' FROM record), concat(',"hash":"', hash, '"'), ''))))),
    -- Who, whom, why: of requests.
    user String MATERIALIZED JSONExtractString(record, 'who', 'user'),
    purpose LowCardinality(String) MATERIALIZED JSONExtractString(record, 'who', 'purpose'),
    granted LowCardinality(String) MATERIALIZED JSONExtractString(record, 'decision', 'grant'),
    decision LowCardinality(String) MATERIALIZED JSONExtractString(record, 'decision', 'result'),
    subject String MATERIALIZED JSONExtractString(record, 'context', 'subject'),
    context LowCardinality(String) MATERIALIZED JSONExtractString(record, 'context', 'name'),
    action LowCardinality(String) MATERIALIZED JSONExtractString(record, 'context', 'action'),
    request String MATERIALIZED JSONExtractString(record, 'request', 'id'),
    tenant String MATERIALIZED JSONExtractString(record, 'tenant', 'id'),
    -- The tenant that was reached for, where that was refused or has to be shown.
    other String MATERIALIZED JSONExtractString(record, 'tenant', 'other'),
    -- Mirrored copies and preflights: no use of data.
    unused Bool MATERIALIZED
        JSONExtractBool(record, 'request', 'shadow') OR JSONExtractBool(record, 'request', 'preflight'),
    -- How many tenants the user is a member of, where the claim is a list.
    membership UInt32 MATERIALIZED JSONExtractUInt(record, 'tenant', 'membership')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (chain, seq);

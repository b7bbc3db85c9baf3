#!/usr/bin/env bash
# Writes the project that is measured beside peers into DIRECTORY: the one-line handler that all of them run, 1 KB echo, 15 to 20 ms of
# processor time, and functions that are called for the first time. Then: hikigane up DIRECTORY/hikigane.yaml --endpoint 127.0.0.1:18091
set -euo pipefail
directory=${1:?usage: subject.sh DIRECTORY [COLD_FUNCTIONS]}
cold=${2:-100}
mkdir -p "$directory"
cat > "$directory/handler.mjs" <<'JS'
export const handler = async (event, context) => ({
  statusCode: 200, headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ path: event.rawPath, q: event.queryStringParameters, body: event.body ?? null, id: context.awsRequestId }),
});
export const echo = async (event) => event;
export const cpu = async (event) => { let h = 2166136261; for (let i = 0; i < 15e6; i++) { h ^= i & 255; h = Math.imul(h, 16777619); } return { statusCode: 200, headers: { 'content-type': 'application/json' }, body: String(h >>> 0) }; };
JS
{
    echo 'defaults: { runtime: nodejs24.x, timeout: 20s }'
    echo 'functions:'
    echo '  echo: { code: ./handler.mjs, handler: handler.echo }'
    echo '  gateway: { code: ./handler.mjs, handler: handler.handler, events: [{ http: GET /fn/echo }] }'
    echo '  cpu: { code: ./handler.mjs, handler: handler.cpu, events: [{ http: GET /fn/cpu }] }'
    for ((n = 0; n < cold; n++)); do
        echo "  c$n: { code: ./handler.mjs, handler: handler.handler, events: [{ http: GET /fn/c$n }] }"
    done
    echo 'sources: { http: { listen: 127.0.0.1:18090 } }'
} > "$directory/hikigane.yaml"

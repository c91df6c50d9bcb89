import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Jobs and all that belongs to them. The CHECKs repeat libs/shared/src/job/job-state.ts, so that no statement,
 * ours or an operator's, can leave a job in a state that the code does not know.
 */
export class Jobs1700000000001 implements MigrationInterface {
  name = 'Jobs1700000000001';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of [
      queues,
      apiKeys,
      secrets,
      workers,
      jobs,
      attempts,
      lanes,
      laneCounting,
      events,
      deliveries,
      recordEvent,
      idempotencyKeys,
      logChunks,
      claimJob,
    ]) {
      await runner.query(statement);
    }
  }

  async down(): Promise<void> {
    throw new Error('there is nothing before the first migration; drop the database instead');
  }
}

const queues = `
CREATE TABLE queues (
  name        text PRIMARY KEY,
  settings    jsonb NOT NULL DEFAULT '{}',
  -- who described it last: the gateway's configuration wins over a worker's registration
  source      text NOT NULL CHECK (source IN ('configuration', 'worker')),
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now()
)`;

const apiKeys = `
CREATE TABLE api_keys (
  id          text PRIMARY KEY,
  secret_hash bytea NOT NULL,
  owner       text NOT NULL,
  role        text NOT NULL CHECK (role IN ('submitter', 'operator', 'admin')),
  created_at  timestamptz NOT NULL DEFAULT now(),
  revoked_at  timestamptz
)`;

/** Shared by all gateways: the key of attempt tokens, the secret that signs callbacks. */
const secrets = `
CREATE TABLE secrets (
  name        text PRIMARY KEY,
  value       text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now()
)`;

const workers = `
CREATE TABLE workers (
  id            text PRIMARY KEY,
  host          text NOT NULL,
  version       text NOT NULL,
  queues        jsonb NOT NULL,
  capabilities  jsonb NOT NULL,
  draining      boolean NOT NULL DEFAULT false,
  -- an operator wants it to take no more jobs and stop; the seconds that it gives to what runs
  drain_requested boolean NOT NULL DEFAULT false,
  drain_timeout double precision,
  started_at    timestamptz NOT NULL,
  registered_at timestamptz NOT NULL DEFAULT now(),
  heard_at      timestamptz NOT NULL DEFAULT now()
)`;

/**
 * `ready`: queued and its time has come, so a claim may take it. Kept as a column because claims, lanes and
 * tickets all count by it, and time passing changes no row by itself.
 *
 * fillfactor and the small partial indexes: a job's row is rewritten three times in its short life.
 */
const jobs = `
CREATE TABLE jobs (
  id                  uuid PRIMARY KEY,
  queue               text NOT NULL REFERENCES queues (name),
  owner               text NOT NULL,
  name                text,
  state               text NOT NULL,
  ready               boolean NOT NULL DEFAULT false,
  priority            smallint NOT NULL DEFAULT 0,
  attempt             integer NOT NULL DEFAULT 0,
  -- tries left for what the command does, and for what happens around it (lost workers)
  tries_left          integer NOT NULL,
  losses_left         integer NOT NULL,
  spec                jsonb NOT NULL,
  inputs              jsonb NOT NULL DEFAULT '[]',
  labels              jsonb NOT NULL DEFAULT '{}',
  callback            jsonb,
  created_at          timestamptz NOT NULL DEFAULT now(),
  available_at        timestamptz NOT NULL DEFAULT now(),
  expires_at          timestamptz,
  started_at          timestamptz,
  finished_at         timestamptz,
  cancel_requested_at timestamptz,
  -- the attempt that is to be paused; whether it is, says the state
  pause_attempt       integer,
  worker_id           text,
  claim_id            uuid,
  lease_expires_at    timestamptz,
  reason              text,
  message             text,
  progress            jsonb,
  rerun_of            uuid,
  traceparent         text,
  CONSTRAINT jobs_state CHECK (state IN ('held', 'queued', 'running', 'paused', 'succeeded', 'failed', 'canceled')),
  CONSTRAINT jobs_ready_is_queued CHECK (NOT ready OR state = 'queued'),
  CONSTRAINT jobs_final_has_end CHECK ((state IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)),
  CONSTRAINT jobs_active_has_lease CHECK (
    (state IN ('running', 'paused')) = (lease_expires_at IS NOT NULL)
    AND (state NOT IN ('running', 'paused') OR (attempt > 0 AND worker_id IS NOT NULL AND claim_id IS NOT NULL))),
  CONSTRAINT jobs_reason CHECK (
    (state = 'failed') = (reason IS NOT NULL)
    AND (reason IS NULL OR reason IN ('exit_code', 'signal', 'timeout', 'out_of_memory', 'output_limit', 'disk_limit',
      'spawn_error', 'input_error', 'output_error', 'worker_lost', 'expired')))
) WITH (fillfactor = 70);
CREATE INDEX jobs_ready ON jobs (queue, owner, priority DESC, id) WHERE ready;
CREATE INDEX jobs_not_ready ON jobs (available_at) WHERE state = 'queued' AND NOT ready;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE state = 'queued' AND expires_at IS NOT NULL;
CREATE INDEX jobs_leased ON jobs (lease_expires_at) WHERE lease_expires_at IS NOT NULL;
CREATE INDEX jobs_of_owner ON jobs (owner, id);
CREATE INDEX jobs_of_queue ON jobs (queue, id)`;

const attempts = `
CREATE TABLE attempts (
  job_id      uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  attempt     integer NOT NULL,
  worker_id   text NOT NULL,
  claim_id    uuid NOT NULL,
  started_at  timestamptz NOT NULL,
  finished_at timestamptz,
  -- how it ended: a final state, 'lost' (its worker went away) or 'handed_back' (a drain)
  ending      text CHECK (ending IN ('succeeded', 'failed', 'canceled', 'lost', 'handed_back')),
  reason      text,
  message     text,
  exit_code   integer,
  signal      text,
  usage       jsonb,
  stdout      jsonb,
  stderr      jsonb,
  outputs     jsonb,
  PRIMARY KEY (job_id, attempt),
  CONSTRAINT attempts_end CHECK ((ending IS NULL) = (finished_at IS NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX attempts_of_claim ON attempts (claim_id)`;

/**
 * One owner's line in one queue. Kept by a trigger from the jobs themselves, so that no move can forget it.
 * \`cap\` NULL: no limit on how many of this owner run at once.
 */
const lanes = `
CREATE TABLE lanes (
  queue         text NOT NULL REFERENCES queues (name) ON DELETE CASCADE,
  owner         text NOT NULL,
  waiting       integer NOT NULL DEFAULT 0 CHECK (waiting >= 0),
  running       integer NOT NULL DEFAULT 0 CHECK (running >= 0),
  cap           integer,
  best_priority smallint NOT NULL DEFAULT 0,
  turn          bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (queue, owner)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX lanes_claimable ON lanes (queue, best_priority DESC, turn) WHERE waiting > 0 AND (cap IS NULL OR running < cap);
CREATE SEQUENCE lane_turns`;

/**
 * A statement's worth of changes is counted at once, lanes in key order, so that batches do not deadlock.
 */
const laneCounting = `
CREATE FUNCTION count_lanes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE change record;
BEGIN
  IF TG_OP = 'INSERT' THEN
    FOR change IN
      SELECT queue, owner, count(*) FILTER (WHERE ready) AS waits,
             count(*) FILTER (WHERE lease_expires_at IS NOT NULL) AS runs,
             max(priority) FILTER (WHERE ready) AS best
      FROM new_jobs GROUP BY queue, owner ORDER BY queue, owner
    LOOP
      CONTINUE WHEN change.waits = 0 AND change.runs = 0;
      PERFORM count_lane(change.queue, change.owner, change.waits::integer, change.runs::integer, change.best);
    END LOOP;
  ELSE
    FOR change IN
      SELECT queue, owner, sum(waits) AS waits, sum(runs) AS runs, max(best) AS best
      FROM (
        SELECT n.queue, n.owner,
               n.ready::integer - o.ready::integer AS waits,
               (n.lease_expires_at IS NOT NULL)::integer - (o.lease_expires_at IS NOT NULL)::integer AS runs,
               CASE WHEN n.ready THEN n.priority END AS best
        FROM new_jobs n JOIN old_jobs o USING (id)
      ) AS changes
      WHERE waits <> 0 OR runs <> 0
      GROUP BY queue, owner ORDER BY queue, owner
    LOOP
      PERFORM count_lane(change.queue, change.owner, change.waits::integer, change.runs::integer, change.best::smallint);
    END LOOP;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION count_lane(lane_queue text, lane_owner text, waits integer, runs integer, best smallint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE lanes SET
    waiting = waiting + waits,
    running = running + runs,
    -- who got a turn goes to the back of the line: nobody collects more than one by staying away
    turn = CASE WHEN runs > 0 THEN nextval('lane_turns') ELSE turn END,
    best_priority = CASE
      WHEN waits < 0 THEN coalesce((SELECT j.priority FROM jobs j
        WHERE j.queue = lane_queue AND j.owner = lane_owner AND j.ready ORDER BY j.priority DESC LIMIT 1), 0)
      WHEN best IS NULL THEN best_priority
      WHEN waiting = 0 THEN best
      ELSE greatest(best_priority, best) END
  WHERE queue = lane_queue AND owner = lane_owner;
  IF FOUND THEN RETURN; END IF;
  INSERT INTO lanes (queue, owner, waiting, running, cap, best_priority)
  VALUES (lane_queue, lane_owner, waits, runs,
          (SELECT (settings->>'maxRunningPerOwner')::integer FROM queues WHERE name = lane_queue),
          coalesce(best, 0::smallint))
  ON CONFLICT (queue, owner) DO UPDATE SET
    waiting = lanes.waiting + excluded.waiting,
    running = lanes.running + excluded.running,
    best_priority = greatest(lanes.best_priority, excluded.best_priority);
END $$;

CREATE TRIGGER jobs_inserted_lanes AFTER INSERT ON jobs
  REFERENCING NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION count_lanes();
CREATE TRIGGER jobs_updated_lanes AFTER UPDATE ON jobs
  REFERENCING OLD TABLE AS old_jobs NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION count_lanes()`;

const events = `
CREATE TABLE events (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id   uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  queue    text NOT NULL,
  owner    text NOT NULL,
  state    text NOT NULL,
  attempt  integer NOT NULL,
  reason   text,
  at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_of_job ON events (job_id, id);
-- exactly one final event for each job, whatever happens
CREATE UNIQUE INDEX events_one_final ON events (job_id) WHERE state IN ('succeeded', 'failed', 'canceled')`;

const deliveries = `
CREATE TABLE deliveries (
  id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  job_id         uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  event_id       bigint NOT NULL REFERENCES events (id) ON DELETE CASCADE,
  url            text NOT NULL,
  -- host and port: each receiver has a line of its own
  host           text NOT NULL GENERATED ALWAYS AS
    (coalesce(lower(substring(url FROM '^[^:]+://(?:[^/?#]*@)?([^/?#]*)')), '')) STORED,
  state          text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'delivered', 'failed')),
  tries          integer NOT NULL DEFAULT 0,
  next_try_at    timestamptz NOT NULL DEFAULT now(),
  last_status    integer,
  last_error     text,
  -- {at, status, error} of each try, the last fifty
  history        jsonb NOT NULL DEFAULT '[]',
  created_at     timestamptz NOT NULL DEFAULT now(),
  finished_at    timestamptz,
  UNIQUE (event_id, url)
);
CREATE INDEX deliveries_due ON deliveries (next_try_at) WHERE state = 'due';
CREATE INDEX deliveries_due_by_host ON deliveries (host, next_try_at) WHERE state = 'due';
CREATE INDEX deliveries_of_job ON deliveries (job_id)`;

/**
 * Writes what a move has to leave behind: its event, and a delivery for each callback that wants to know. Called
 * by every statement that moves a job, on the row as moved.
 */
const recordEvent = `
CREATE FUNCTION record_event(job jobs) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE event_id bigint;
BEGIN
  INSERT INTO events (job_id, queue, owner, state, attempt, reason, at)
  VALUES (job.id, job.queue, job.owner, job.state, job.attempt, job.reason, clock_timestamp())
  RETURNING id INTO event_id;
  IF job.callback IS NOT NULL
     AND coalesce(job.callback->'events', '["succeeded", "failed", "canceled"]') ? job.state THEN
    INSERT INTO deliveries (job_id, event_id, url) VALUES (job.id, event_id, job.callback->>'url');
  END IF;
  RETURN event_id;
END $$`;

const idempotencyKeys = `
CREATE TABLE idempotency_keys (
  owner        text NOT NULL,
  key          text NOT NULL,
  request_hash text,
  job_id       uuid,
  reply        jsonb,
  created_at   timestamptz NOT NULL DEFAULT now(),
  -- while the first request is still running: renewed by its gateway, so that a dead one frees the key
  locked_until timestamptz,
  PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at)`;

/** Only what live readers need of a running attempt; the whole stream comes with its end. */
const logChunks = `
CREATE UNLOGGED TABLE log_chunks (
  job_id    uuid NOT NULL,
  attempt   integer NOT NULL,
  stream    text NOT NULL CHECK (stream IN ('stdout', 'stderr')),
  at_byte   bigint NOT NULL,
  -- bytes right before it that its worker left out
  skipped   bigint NOT NULL,
  data      bytea NOT NULL,
  PRIMARY KEY (job_id, attempt, stream, at_byte)
)`;

/**
 * One claim: whose turn, then which job of theirs. Asked again with the same claim id it gives the same job.
 *
 * The lane is locked, not skipped: claims of one queue follow each other, and a claim never overlooks work
 * because a submission happened to hold the lane at that moment.
 */
const claimJob = `
CREATE FUNCTION claim_job(in_queue text, in_claim uuid, in_worker text, in_lease interval)
RETURNS TABLE (job jobs, event_id bigint) LANGUAGE plpgsql AS $$
DECLARE
  lane lanes%ROWTYPE;
  asked_before uuid;
  picked jobs%ROWTYPE;
BEGIN
  -- through the attempts: among the jobs of a worker lie all that it had since the last vacuum
  SELECT a.job_id INTO asked_before FROM attempts a WHERE a.claim_id = in_claim;
  IF FOUND THEN
    -- the first answer was lost, and no heartbeat renews the lease before one arrives
    UPDATE jobs SET lease_expires_at = now() + in_lease
    WHERE id = asked_before AND claim_id = in_claim AND worker_id = in_worker AND lease_expires_at IS NOT NULL
    RETURNING * INTO picked;
    -- else a late copy of a claim whose attempt is over: its worker no longer listens
    IF FOUND THEN RETURN QUERY SELECT picked, NULL::bigint; END IF;
    RETURN;
  END IF;

  FOR round IN 1..100 LOOP
    SELECT l.* INTO lane FROM lanes l
    WHERE l.queue = in_queue AND l.waiting > 0 AND (l.cap IS NULL OR l.running < l.cap)
    ORDER BY l.best_priority DESC, l.turn LIMIT 1 FOR UPDATE;
    IF NOT FOUND THEN
      -- the lane we waited for may have changed under us while others still have work
      PERFORM 1 FROM lanes l WHERE l.queue = in_queue AND l.waiting > 0 AND (l.cap IS NULL OR l.running < l.cap) LIMIT 1;
      IF NOT FOUND THEN RETURN; END IF;
      CONTINUE;
    END IF;

    SELECT j.* INTO picked FROM jobs j
    WHERE j.queue = in_queue AND j.owner = lane.owner AND j.ready
    ORDER BY j.priority DESC, j.id LIMIT 1 FOR UPDATE SKIP LOCKED;
    -- held or canceled at this very moment: its own statement will mend the lane's count
    IF NOT FOUND THEN RETURN; END IF;

    UPDATE jobs SET state = 'running', ready = false, attempt = attempt + 1, worker_id = in_worker,
      claim_id = in_claim, lease_expires_at = now() + in_lease, started_at = now(), progress = NULL
    WHERE id = picked.id AND state = 'queued' AND attempt = picked.attempt
    RETURNING * INTO picked;
    INSERT INTO attempts (job_id, attempt, worker_id, claim_id, started_at)
    VALUES (picked.id, picked.attempt, in_worker, in_claim, picked.started_at);
    RETURN QUERY SELECT picked, record_event(picked);
    RETURN;
  END LOOP;
END $$`;

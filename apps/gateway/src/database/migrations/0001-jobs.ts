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
      soundness,
      jobs,
      attempts,
      lanes,
      laneCounting,
      events,
      jobsDeleted,
      deliveries,
      recordEvent,
      retrying,
      idempotencyKeys,
      logChunks,
      claimJobs,
    ]) {
      await runner.query(statement);
    }
  }

  async down(): Promise<void> {
    throw new Error('there is nothing before the first migration; drop the database instead');
  }
}

/** For what runs with every job: a planner that hopes for a better plan would plan these statements anew each time. */
const PLANNED_ONCE = 'SET plan_cache_mode = force_generic_plan';

/** Of an updated job, `o` before and `n` after: claims have to look for it where they did not before. */
const BECOMES_READY = 'n.ready AND (NOT o.ready OR n.priority <> o.priority)';

/** Postgres has min() of ids only from version 18 on. */
const lowest = (id: string) => `min((${id})::text COLLATE "C")::uuid`;

const queues = `
CREATE TABLE queues (
  name        text PRIMARY KEY,
  settings    jsonb NOT NULL DEFAULT '{}',
  -- who described it last: the gateway's configuration wins over a worker's registration
  source      text NOT NULL CHECK (source IN ('configuration', 'worker')),
  -- there have been jobs that not every worker may take: claims look at their lanes too from then on
  mixed       boolean NOT NULL DEFAULT false,
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
  image         text,
  queues        jsonb NOT NULL,
  capabilities  jsonb NOT NULL,
  -- a bit for each word of libs/shared/src/job/requirements.ts, as in jobs.requires
  enforces      integer NOT NULL DEFAULT 0,
  draining      boolean NOT NULL DEFAULT false,
  -- an operator wants it to take no more jobs and stop; the seconds that it gives to what runs
  drain_requested boolean NOT NULL DEFAULT false,
  drain_timeout double precision,
  started_at    timestamptz NOT NULL,
  registered_at timestamptz NOT NULL DEFAULT now(),
  heard_at      timestamptz NOT NULL DEFAULT now()
)`;

/**
 * What CHECKs hold rows to. Postgres reads a CHECK's expression anew for each statement, which for these cost a seventh
 * of all its work; of a function it reads the name.
 */
const soundness = `
CREATE FUNCTION job_is_sound(state text, ready boolean, finished_at timestamptz, lease_expires_at timestamptz,
                             attempt integer, worker_id text, claim_id uuid, reason text)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN state IN ('held', 'queued', 'running', 'paused', 'succeeded', 'failed', 'canceled')
    AND (NOT ready OR state = 'queued')
    AND (state IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)
    AND (state IN ('running', 'paused')) = (lease_expires_at IS NOT NULL)
    AND (state NOT IN ('running', 'paused') OR (attempt > 0 AND worker_id IS NOT NULL AND claim_id IS NOT NULL))
    AND (state = 'failed') = (reason IS NOT NULL)
    AND (reason IS NULL OR reason IN ('exit_code', 'signal', 'timeout', 'out_of_memory', 'output_limit', 'disk_limit',
      'spawn_error', 'input_error', 'output_error', 'worker_lost', 'expired'));
END $$;

-- how an attempt ended: a final state, 'lost' (its worker went away) or 'handed_back' (a drain)
CREATE FUNCTION attempt_is_sound(ending text, finished_at timestamptz)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN (ending IS NULL) = (finished_at IS NULL)
    AND (ending IS NULL OR ending IN ('succeeded', 'failed', 'canceled', 'lost', 'handed_back'));
END $$`;

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
  -- what a worker has to enforce, a bit for each word; 0 for a job that any worker may take
  requires            integer NOT NULL DEFAULT 0,
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
  CONSTRAINT jobs_are_sound CHECK (job_is_sound(state, ready, finished_at, lease_expires_at, attempt, worker_id,
    claim_id, reason))
) WITH (fillfactor = 70);
CREATE INDEX jobs_ready ON jobs (queue, owner, requires, priority DESC, id) WHERE ready;
CREATE INDEX jobs_not_ready ON jobs (available_at) WHERE state = 'queued' AND NOT ready;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE state = 'queued' AND expires_at IS NOT NULL;
CREATE INDEX jobs_leased ON jobs (lease_expires_at) WHERE lease_expires_at IS NOT NULL;
CREATE INDEX jobs_of_owner ON jobs (owner, id);
CREATE INDEX jobs_of_queue ON jobs (queue, id)`;

/** Its rows, as those of events, are written beside their job's and go with it (jobsDeleted): no foreign key asks. */
const attempts = `
CREATE TABLE attempts (
  job_id      uuid NOT NULL,
  attempt     integer NOT NULL,
  worker_id   text NOT NULL,
  -- of the worker as it was then
  host        text,
  image       text,
  claim_id    uuid NOT NULL,
  started_at  timestamptz NOT NULL,
  finished_at timestamptz,
  ending      text,
  reason      text,
  -- the limit that ended it
  limit_hit   text,
  -- it failed by what is around the command, and used up none of its tries
  infrastructure boolean NOT NULL DEFAULT false,
  message     text,
  exit_code   integer,
  signal      text,
  usage       jsonb,
  stdout      jsonb,
  stderr      jsonb,
  outputs     jsonb,
  PRIMARY KEY (job_id, attempt),
  CONSTRAINT attempts_are_sound CHECK (attempt_is_sound(ending, finished_at))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX attempts_of_claim ON attempts (claim_id)`;

/**
 * One owner's line in one queue, a row for each set of requirements that the owner's jobs have there; nearly always
 * there is one. Kept by a trigger from the jobs themselves, so that no move can forget it.
 *
 * Claims look for jobs from \`first_job\` on. Before it lie the index entries of all that were claimed since the last
 * vacuum: to step over them would cost each claim more than the one before.
 *
 * \`taken\` (how many of the owner's jobs run, whatever they require), \`cap\` (NULL: as many as they like) and
 * \`turn\` are the owner's and the same in all rows. Who changes several of its rows holds the owner's
 * lock, see lock_owner.
 */
const lanes = `
CREATE TABLE lanes (
  queue         text NOT NULL REFERENCES queues (name) ON DELETE CASCADE,
  owner         text NOT NULL,
  requires      integer NOT NULL DEFAULT 0,
  waiting       integer NOT NULL DEFAULT 0 CHECK (waiting >= 0),
  running       integer NOT NULL DEFAULT 0 CHECK (running >= 0),
  taken         integer NOT NULL DEFAULT 0 CHECK (taken >= running),
  cap           integer,
  best_priority smallint NOT NULL DEFAULT 0,
  -- no ready job of that priority has a lower id; NULL where none waits
  first_job     uuid,
  turn          bigint NOT NULL DEFAULT 0,
  -- a column, lest every count changes an index
  claimable     boolean NOT NULL GENERATED ALWAYS AS (waiting > 0 AND (cap IS NULL OR taken < cap)) STORED,
  PRIMARY KEY (queue, owner, requires)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX lanes_claimable ON lanes (queue, requires, best_priority DESC, turn) WHERE claimable;
CREATE SEQUENCE lane_turns`;

/**
 * A statement's worth of changes is counted at once, lanes in key order, so that batches do not deadlock. Most
 * statements change one job, and grouping one costs as much as counting it.
 */
const laneCounting = `
CREATE FUNCTION count_lanes() RETURNS trigger LANGUAGE plpgsql ${PLANNED_ONCE} AS $$
DECLARE change record;
BEGIN
  IF TG_OP = 'INSERT' THEN
    SELECT (SELECT count(*) FROM new_jobs) AS jobs, queue, owner, requires, ready::integer AS waits,
           (lease_expires_at IS NOT NULL)::integer AS runs, CASE WHEN ready THEN priority END AS best,
           CASE WHEN ready THEN id END AS first
    INTO change FROM new_jobs;
  ELSE
    SELECT (SELECT count(*) FROM new_jobs) AS jobs, n.queue, n.owner, n.requires,
           n.ready::integer - o.ready::integer AS waits,
           (n.lease_expires_at IS NOT NULL)::integer - (o.lease_expires_at IS NOT NULL)::integer AS runs,
           CASE WHEN ${BECOMES_READY} THEN n.priority END AS best, CASE WHEN ${BECOMES_READY} THEN n.id END AS first
    INTO change FROM new_jobs n, old_jobs o;
  END IF;
  IF NOT FOUND THEN RETURN NULL; END IF;
  IF change.jobs = 1 THEN
    IF change.waits = 0 AND change.runs = 0 AND change.best IS NULL THEN RETURN NULL; END IF;
    IF change.runs < 0 THEN PERFORM lock_owner(change.queue, change.owner); END IF;
    PERFORM count_lane(change.queue, change.owner, change.requires, change.waits, change.runs, change.best,
                       change.first);
  ELSIF TG_OP = 'INSERT' THEN
    FOR change IN
      SELECT queue, owner, requires, count(*) FILTER (WHERE ready) AS waits,
             count(*) FILTER (WHERE lease_expires_at IS NOT NULL) AS runs,
             max(priority) FILTER (WHERE ready) AS best, ${lowest('CASE WHEN ready THEN id END')} AS first,
             count(*) OVER (PARTITION BY queue, owner) AS rows
      FROM new_jobs GROUP BY queue, owner, requires ORDER BY queue, owner, requires
    LOOP
      CONTINUE WHEN change.waits = 0 AND change.runs = 0;
      IF change.rows > 1 THEN PERFORM lock_owner(change.queue, change.owner); END IF;
      PERFORM count_lane(change.queue, change.owner, change.requires, change.waits::integer, 0, change.best,
                         change.first);
      IF change.runs > 0 THEN
        PERFORM count_lane(change.queue, change.owner, change.requires, 0, change.runs::integer, NULL, NULL);
      END IF;
    END LOOP;
  ELSE
    FOR change IN
      SELECT queue, owner, requires, sum(waits) AS waits, sum(runs) AS runs, max(best) AS best,
             ${lowest('first')} AS first, count(*) OVER (PARTITION BY queue, owner) AS rows
      FROM (
        SELECT n.queue, n.owner, n.requires,
               n.ready::integer - o.ready::integer AS waits,
               (n.lease_expires_at IS NOT NULL)::integer - (o.lease_expires_at IS NOT NULL)::integer AS runs,
               CASE WHEN ${BECOMES_READY} THEN n.priority END AS best, CASE WHEN ${BECOMES_READY} THEN n.id END AS first
        FROM new_jobs n JOIN old_jobs o USING (id)
      ) AS changes
      WHERE waits <> 0 OR runs <> 0 OR best IS NOT NULL
      GROUP BY queue, owner, requires ORDER BY queue, owner, requires
    LOOP
      IF change.rows > 1 OR change.runs < 0 THEN PERFORM lock_owner(change.queue, change.owner); END IF;
      PERFORM count_lane(change.queue, change.owner, change.requires, change.waits::integer, change.runs::integer,
                         change.best::smallint, change.first);
    END LOOP;
  END IF;
  RETURN NULL;
END $$;

-- One at a time changes several rows of an owner, lest two lock them in different orders, or one misses a new row.
CREATE FUNCTION lock_owner(lane_queue text, lane_owner text) RETURNS void LANGUAGE sql AS $$
  SELECT pg_advisory_xact_lock(hashtextextended(lane_queue || '/' || lane_owner, 0))
$$;

CREATE FUNCTION count_lane(lane_queue text, lane_owner text, needs integer, waits integer, runs integer, best smallint,
                           first uuid)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  -- the lane's first job may be another one now
  must_look boolean := waits < 0 OR (waits = 0 AND best IS NOT NULL);
  known record;
  next_priority smallint;
  next_job uuid;
  -- who got a turn goes to the back of the line: nobody collects more than one by staying away
  new_turn bigint := CASE WHEN runs > 0 THEN nextval('lane_turns') END;
BEGIN
  IF must_look THEN
    -- locked before the jobs are looked at, so that what is added meanwhile is counted after this
    SELECT l.waiting, l.best_priority, l.first_job INTO known
    FROM lanes l WHERE l.queue = lane_queue AND l.owner = lane_owner AND l.requires = needs FOR UPDATE;
    IF known.waiting + waits > 0 THEN
      IF best IS NULL THEN
        SELECT j.priority, j.id INTO next_priority, next_job FROM jobs j
        WHERE j.queue = lane_queue AND j.owner = lane_owner AND j.requires = needs AND j.ready
          AND j.priority = known.best_priority AND j.id >= known.first_job ORDER BY j.id LIMIT 1;
      END IF;
      IF next_job IS NULL THEN
        SELECT j.priority, j.id INTO next_priority, next_job FROM jobs j
        WHERE j.queue = lane_queue AND j.owner = lane_owner AND j.requires = needs AND j.ready
        ORDER BY j.priority DESC, j.id LIMIT 1;
      END IF;
    END IF;
  END IF;
  UPDATE lanes SET
    waiting = CASE WHEN requires = needs THEN waiting + waits ELSE waiting END,
    running = CASE WHEN requires = needs THEN running + runs ELSE running END,
    taken = taken + runs,
    turn = coalesce(new_turn, turn),
    best_priority = CASE
      WHEN requires <> needs THEN best_priority
      WHEN must_look THEN coalesce(next_priority, 0)
      WHEN best IS NULL THEN best_priority
      WHEN waiting = 0 THEN best
      ELSE greatest(best_priority, best) END,
    first_job = CASE
      WHEN requires <> needs THEN first_job
      WHEN must_look THEN next_job
      WHEN waiting = 0 OR best > best_priority THEN first
      ELSE least(first_job, first) END
  WHERE queue = lane_queue AND owner = lane_owner AND (runs <> 0 OR requires = needs);
  IF FOUND THEN RETURN; END IF;
  -- a new row copies what is the owner's, which claims that know of no such row change under the lock of another
  PERFORM lock_owner(lane_queue, lane_owner);
  PERFORM FROM lanes WHERE queue = lane_queue AND owner = lane_owner FOR UPDATE;
  INSERT INTO lanes (queue, owner, requires, waiting, running, taken, turn, cap, best_priority, first_job)
  SELECT lane_queue, lane_owner, needs, waits, runs, runs + coalesce(max(taken), 0), coalesce(max(turn), 0),
         (SELECT (settings->>'maxRunningPerOwner')::integer FROM queues WHERE name = lane_queue),
         coalesce(best, 0::smallint), first
  FROM lanes WHERE queue = lane_queue AND owner = lane_owner
  ON CONFLICT (queue, owner, requires) DO UPDATE SET
    waiting = lanes.waiting + excluded.waiting,
    best_priority = greatest(lanes.best_priority, excluded.best_priority),
    first_job = least(lanes.first_job, excluded.first_job);
  IF needs <> 0 THEN UPDATE queues SET mixed = true WHERE name = lane_queue AND NOT mixed; END IF;
END $$;

CREATE TRIGGER jobs_inserted_lanes AFTER INSERT ON jobs
  REFERENCING NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION count_lanes();
CREATE TRIGGER jobs_updated_lanes AFTER UPDATE ON jobs
  REFERENCING OLD TABLE AS old_jobs NEW TABLE AS new_jobs FOR EACH STATEMENT EXECUTE FUNCTION count_lanes()`;

const events = `
CREATE TABLE events (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id   uuid NOT NULL,
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

/** What a foreign key would do, without its question at each of a job's events. */
const jobsDeleted = `
CREATE FUNCTION forget_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM attempts a USING old_jobs j WHERE a.job_id = j.id;
  DELETE FROM events e USING old_jobs j WHERE e.job_id = j.id;
  RETURN NULL;
END $$;
CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs
  REFERENCING OLD TABLE AS old_jobs FOR EACH STATEMENT EXECUTE FUNCTION forget_jobs()`;

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
CREATE FUNCTION record_event(job jobs) RETURNS bigint LANGUAGE plpgsql ${PLANNED_ONCE} AS $$
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

/** Asked only about attempts that failed; what an allowance says stands in jobs.spec. */
const retrying = `
-- Seconds until a job runs again after a failure of its command, or of what is around it; NULL when it does not.
CREATE FUNCTION pause_before_retry(retry jsonb, around boolean, tries_left integer, losses_left integer,
                                   reason text, exit_code integer)
RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
  allowance jsonb := CASE WHEN around THEN retry->'infrastructure' ELSE retry END;
  is_worth_it boolean;
  doublings integer;
BEGIN
  IF around THEN
    IF losses_left <= 0 THEN RETURN NULL; END IF;
    doublings := (allowance->>'tries')::integer - losses_left - 1;
    -- the first is made good at once: it was the worker, and others are there
    IF doublings < 0 THEN RETURN 0; END IF;
  ELSE
    IF tries_left <= 0 THEN RETURN NULL; END IF;
    is_worth_it := CASE WHEN retry ? 'on'
      THEN retry->'on' @> to_jsonb(reason) OR (reason = 'exit_code' AND retry->'on' @> to_jsonb(coalesce(exit_code, 0)))
      -- a command would find the same files again
      ELSE reason NOT IN ('input_error', 'output_error') END;
    IF NOT is_worth_it THEN RETURN NULL; END IF;
    doublings := (allowance->>'tries')::integer - 1 - tries_left;
  END IF;
  RETURN least((allowance->>'backoff')::float * power(2, least(doublings, 30)), (allowance->>'backoffMax')::float)
         * (1 - random() * (retry->>'jitter')::float);
END $$;

-- How often a job was tried that fails for good, as the last sentence of its message; NULL where that says nothing.
CREATE FUNCTION tries_made(retry jsonb, around boolean, tries_left integer) RETURNS text LANGUAGE sql AS $$
  SELECT CASE
    WHEN around THEN format('Such failures are forgiven %s times.', retry->'infrastructure'->>'tries')
    WHEN (retry->>'tries')::integer > 1
      THEN format('This was try %s of %s.', (retry->>'tries')::integer - tries_left, retry->>'tries') END
$$`;

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
 * The next jobs for claims of one worker in one queue: whose turn, then which job of theirs, until each claim has one or
 * nothing is left. Claims that come together take several jobs of a lane at once where no other owner's turn lies between
 * them. Asked again with the same id a claim gets the same job. With \`in_heard_within\` they get nothing for a
 * worker that was silent for so long or is about to stop: they may have waited for a gateway longer than their worker.
 *
 * In a mixed queue the first lane of each set of requirements is looked at: however many jobs wait for another kind
 * of worker, a claim steps over all of one set at once.
 *
 * The lane is locked, not skipped: claims of one queue follow each other, and a claim never overlooks work
 * because a submission happened to hold the lane at that moment.
 */
const claimJobs = `
CREATE FUNCTION claim_jobs(in_queue text, in_worker text, in_claims uuid[], in_lease interval, in_heard_within interval)
RETURNS TABLE (job jobs, event_id bigint) LANGUAGE plpgsql
-- there is an index for every order; a planner that has seen only empty tables would rather sort all that waits
SET enable_sort = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off ${PLANNED_ONCE} AS $$
DECLARE
  claims uuid[] := in_claims;
  asked_before uuid[];
  is_mixed boolean;
  lacks integer;
  worker_host text;
  worker_image text;
  is_there boolean;
  lane_owner text;
  lane_priority smallint;
  lane_room integer;
  sets integer[];
  most integer;
  picked uuid[];
BEGIN
  -- what was claimed with these ids before, looked for among the attempts: among the jobs of a worker lie all that it
  -- had since the last vacuum; and what is registered of queue and worker. A stranger takes what requires nothing
  SELECT (SELECT array_agg(a.claim_id) FROM attempts a WHERE a.claim_id = ANY (in_claims)), q.mixed,
         ~coalesce(w.enforces, 0), w.host, w.image,
         coalesce(w.heard_at > now() - in_heard_within AND NOT w.draining AND NOT w.drain_requested, false)
  INTO asked_before, is_mixed, lacks, worker_host, worker_image, is_there
  FROM queues q LEFT JOIN workers w ON w.id = in_worker WHERE q.name = in_queue;
  IF NOT FOUND THEN RETURN; END IF;
  IF asked_before IS NOT NULL THEN
    -- the first answer was lost, and no heartbeat renews the lease before one arrives; or it is a late copy of a claim
    -- whose attempt is over: its worker no longer listens
    RETURN QUERY UPDATE jobs j SET lease_expires_at = now() + in_lease
    WHERE j.id IN (SELECT a.job_id FROM attempts a WHERE a.claim_id = ANY (asked_before))
      AND j.claim_id = ANY (asked_before) AND j.worker_id = in_worker AND j.state IN ('running', 'paused')
    RETURNING j, NULL::bigint;
    claims := ARRAY(SELECT c FROM unnest(in_claims) AS c WHERE c <> ALL (asked_before));
  END IF;

  IF in_heard_within IS NOT NULL AND NOT is_there THEN RETURN; END IF;

  FOR round IN 1..100 + cardinality(claims) LOOP
    IF claims = '{}' THEN RETURN; END IF;
    most := 1;
    IF is_mixed THEN
      WITH RECURSIVE firsts AS (
        (SELECT l.requires, l.owner, l.best_priority, l.turn FROM lanes l
         WHERE l.queue = in_queue AND l.claimable
         ORDER BY l.requires, l.best_priority DESC, l.turn LIMIT 1)
        UNION ALL
        SELECT following.* FROM firsts f, LATERAL (
          SELECT l.requires, l.owner, l.best_priority, l.turn FROM lanes l
          WHERE l.queue = in_queue AND l.requires > f.requires AND l.claimable
          ORDER BY l.requires, l.best_priority DESC, l.turn LIMIT 1) AS following
      )
      SELECT f.owner INTO lane_owner FROM firsts f WHERE f.requires & lacks = 0
      ORDER BY f.best_priority DESC, f.turn LIMIT 1;
      IF NOT FOUND THEN RETURN; END IF;
      PERFORM lock_owner(in_queue, lane_owner);
      SELECT array_agg(l.requires) INTO sets FROM lanes l
      WHERE l.queue = in_queue AND l.owner = lane_owner AND l.requires & lacks = 0
        AND l.claimable
      GROUP BY l.best_priority ORDER BY l.best_priority DESC LIMIT 1;
      -- what we waited for has changed under us; others may still have work
      CONTINUE WHEN NOT FOUND;
    ELSE
      SELECT l.owner, l.best_priority, coalesce(l.cap - l.taken, cardinality(claims)), '{0}'
      INTO lane_owner, lane_priority, lane_room, sets FROM lanes l
      WHERE l.queue = in_queue AND l.requires = 0 AND l.claimable
      ORDER BY l.best_priority DESC, l.turn LIMIT 1 FOR UPDATE;
      IF NOT FOUND THEN
        PERFORM 1 FROM lanes l WHERE l.queue = in_queue AND l.requires = 0 AND l.claimable LIMIT 1;
        IF NOT FOUND THEN RETURN; END IF;
        CONTINUE;
      END IF;
      IF cardinality(claims) > 1 THEN
        PERFORM 1 FROM lanes l WHERE l.queue = in_queue AND l.requires = 0 AND l.claimable
          AND l.best_priority = lane_priority AND l.owner <> lane_owner LIMIT 1;
        IF NOT FOUND THEN most := least(cardinality(claims), lane_room); END IF;
      END IF;
    END IF;

    picked := ARRAY(
      SELECT f.id FROM lanes l, LATERAL (
        SELECT j.id FROM jobs j
        WHERE j.queue = in_queue AND j.owner = lane_owner AND j.requires = l.requires AND j.ready
          AND j.priority = l.best_priority AND j.id >= l.first_job
        ORDER BY j.id LIMIT most FOR UPDATE SKIP LOCKED) AS f
      WHERE l.queue = in_queue AND l.owner = lane_owner AND l.requires = ANY (sets)
      ORDER BY f.id LIMIT most);
    IF picked = '{}' THEN
      -- what the lane says of its first job is not so, or that one is locked
      picked := ARRAY(
        SELECT j.id FROM jobs j
        WHERE j.queue = in_queue AND j.owner = lane_owner AND j.requires = ANY (sets) AND j.ready
        ORDER BY j.priority DESC, j.id LIMIT 1 FOR UPDATE SKIP LOCKED);
    END IF;
    -- held or canceled at this very moment: its own statement will mend the lane's count
    IF picked = '{}' THEN RETURN; END IF;

    RETURN QUERY WITH moved AS (
      UPDATE jobs j SET state = 'running', ready = false, attempt = j.attempt + 1, worker_id = in_worker,
        claim_id = p.claim, lease_expires_at = now() + in_lease, started_at = now(), progress = NULL
      FROM unnest(picked, claims[:cardinality(picked)]) AS p (id, claim) WHERE j.id = p.id AND j.state = 'queued'
      RETURNING j AS job
    ), noted AS (
      INSERT INTO attempts (job_id, attempt, worker_id, host, image, claim_id, started_at)
      SELECT (m.job).id, (m.job).attempt, in_worker, worker_host, worker_image, (m.job).claim_id, (m.job).started_at
      FROM moved m
    )
    SELECT m.job, record_event(m.job) FROM moved m;
    claims := claims[cardinality(picked) + 1:];
  END LOOP;
END $$`;

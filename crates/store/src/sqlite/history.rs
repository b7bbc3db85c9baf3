//! The statements of the history, and its limits.

use bytes::Bytes;
use hikigane_model::{BindingId, FunctionName, InvokeMode, RequestId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::event_row::{self, micros};
use crate::{RecordedRun, Run, RunFilter, RunStatus};

/// Most bytes of an input, an output and a log that are kept.
const BODY: usize = 256 * 1024;
/// Most runs that are kept, ...
const KEPT: i64 = 100_000;
/// ... and fewer once the database has as many bytes: ...
const BYTES: i64 = 1 << 30;
/// ... but always as many as this.
const KEPT_ALWAYS: i64 = 1_000;
/// How many more runs go with a transaction while the database has more bytes: large ones may follow many small ones.
const STEP: i64 = 256;

const COLUMNS: &str = "request_id, attempt, binding, trigger, function, version, mode, status, reason, started_at, duration_ms, init_ms, \
                       max_memory_mb, input, output, log";
/// The same, without what [`list`] leaves out.
const COLUMNS_OF_A_LIST: &str = "request_id, attempt, binding, trigger, function, version, mode, status, reason, started_at, duration_ms, \
                                 init_ms, max_memory_mb, x'', x'', ''";

/// Records runs, and prunes a few more of the oldest than were added when there are too many.
pub(super) fn insert<'a>(sql: &Connection, runs: impl IntoIterator<Item = &'a Run>) -> rusqlite::Result<()> {
    let mut added = 0;
    for run in runs {
        sql.prepare_cached(&format!(
            "INSERT INTO runs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        ))?
        .execute(params![
            run.request_id.as_str(),
            run.attempt,
            run.binding.as_ref().map(BindingId::as_str),
            run.trigger,
            run.function.as_str(),
            run.version,
            mode_word(run.mode),
            run.status.as_str(),
            run.reason,
            micros(run.started_at),
            run.duration_ms,
            run.init_ms,
            run.max_memory_mb,
            head(&run.input),
            head(&run.output),
            tail(&run.log),
        ])?;
        added += 1;
    }
    if added == 0 {
        return Ok(());
    }
    keep(sql, BYTES, added * 2)
}

/// Prunes by number, or, when the database has more than `most` bytes, by these.
fn keep(sql: &Connection, most: i64, step: i64) -> rusqlite::Result<()> {
    if bytes(sql)? > most {
        prune(sql, KEPT_ALWAYS, step + STEP)
    } else {
        prune(sql, KEPT, step)
    }
}

/// Bytes of the database that are in use.
fn bytes(sql: &Connection) -> rusqlite::Result<i64> {
    let pragma = |name: &str| sql.prepare_cached(name)?.query_row([], |row| row.get::<_, i64>(0));
    Ok((pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?) * pragma("PRAGMA page_size")?)
}

/// Deletes the oldest runs beyond `kept`, at most `step`. The numbers of the runs that are there follow each other.
fn prune(sql: &Connection, kept: i64, step: i64) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "DELETE FROM runs WHERE id IN
            (SELECT id FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?1 ORDER BY id LIMIT ?2)",
    )?
    .execute([kept, step])?;
    Ok(())
}

/// Deletes all runs.
pub(super) fn forget(sql: &Connection) -> rusqlite::Result<()> {
    sql.execute("DELETE FROM runs", []).map(drop)
}

/// Gives a history that is damaged another name, which it returns, and begins a new one. Nothing of it is read, so that no damage stands in the
/// way; what can still be read of it, others may.
pub(super) fn set_aside(sql: &Connection) -> rusqlite::Result<String> {
    let is_taken = |name: &str| {
        sql.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?
            .exists([name])
    };
    let mut aside = "runs_damaged".to_owned();
    let mut number = 1;
    while is_taken(&aside)? {
        number += 1;
        aside = format!("runs_damaged_{number}");
    }
    // The table, then its indexes. SQLite has no statement that gives an index another name.
    let definitions = sql
        .prepare("SELECT sql FROM sqlite_schema WHERE tbl_name = 'runs' ORDER BY type DESC, name")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    sql.execute_batch(&format!(
        "ALTER TABLE runs RENAME TO {aside};
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET name = '{aside}' || substr(name, 5), sql = replace(sql, ' ' || name || ' ', ' {aside}' || substr(name, 5) || ' ')
             WHERE type = 'index' AND tbl_name = '{aside}';
         PRAGMA writable_schema = RESET;
         {};
         INSERT INTO sqlite_sequence (name, seq) SELECT 'runs', seq FROM sqlite_sequence WHERE name = '{aside}'",
        definitions.join(";")
    ))?;
    Ok(aside)
}

/// The run as it will be kept, without the memory of what is cut.
pub(super) fn trim(mut run: Run) -> Run {
    for body in [&mut run.input, &mut run.output] {
        if body.len() > BODY {
            *body = Bytes::copy_from_slice(head(body));
        }
    }
    if run.log.len() > BODY {
        run.log = tail(&run.log).into_owned();
    }
    run
}

/// About how many bytes of memory the run takes.
pub(super) fn weight(run: &Run) -> usize {
    size_of::<Run>() + run.input.len() + run.output.len() + run.log.len()
}

/// The beginning of a body, cut between two characters.
fn head(body: &[u8]) -> &[u8] {
    let continues = |at: usize| body.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    let cut = (BODY.saturating_sub(3)..=BODY)
        .rev()
        .find(|at| !continues(*at))
        .unwrap_or(BODY);
    body.get(..cut).unwrap_or(body)
}

/// The end of a log, after a line that says how much is missing.
fn tail(log: &str) -> std::borrow::Cow<'_, str> {
    if log.len() <= BODY {
        return log.into();
    }
    // Room for the mark, so that what was cut once is not cut again.
    let mut cut = log.len() - (BODY - 64);
    while !log.is_char_boundary(cut) {
        cut += 1;
    }
    format!("[the first {cut} bytes of the log were cut]\n{}", &log[cut..]).into()
}

fn mode_word(mode: InvokeMode) -> &'static str {
    match mode {
        InvokeMode::Sync => "sync",
        InvokeMode::Async => "async",
    }
}

/// Lists runs, newest first, without input, output and log.
///
/// Request ids are random, and an index of them costs more than all else about a run. So only asynchronous runs, of which one
/// id may have several, are in it; a synchronous one is looked for in the whole history.
pub(super) fn list(sql: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<RecordedRun>> {
    let run = |(query, values): (String, Vec<Value>)| {
        let mut statement = sql.prepare_cached(&query)?;
        statement
            .query_map(params_from_iter(values), read)?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    if filter.request_id.is_some() {
        let found = run(select(filter, Some(InvokeMode::Async)))?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    run(select(filter, None))
}

/// The statement for a filter. The most selective column leads; the unary plus keeps SQLite from choosing the index of
/// another, and the status is read from the leading one's index.
fn select(filter: &RunFilter, mode: Option<InvokeMode>) -> (String, Vec<Value>) {
    let text = |text: &str| Value::Text(text.to_owned());
    let columns = [
        ("request_id", filter.request_id.as_ref().map(|id| text(id.as_str()))),
        ("binding", filter.binding.as_ref().map(|id| text(id.as_str()))),
        ("function", filter.function.as_ref().map(|name| text(name.as_str()))),
        ("status", filter.status.map(|status| text(status.as_str()))),
    ];
    let mut query = format!("SELECT id, {COLUMNS_OF_A_LIST} FROM runs WHERE id < ?");
    let mut values = vec![Value::Integer(filter.before.unwrap_or(i64::MAX))];
    for (column, value) in columns {
        let Some(value) = value else { continue };
        let plus = if values.len() > 1 { "+" } else { "" };
        query.push_str(&format!(" AND {plus}{column} = ?"));
        values.push(value);
    }
    if let Some(mode) = mode {
        // Written out, so that the partial index fits.
        query.push_str(&format!(" AND mode = '{}'", mode_word(mode)));
    }
    query.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(Value::Integer(i64::try_from(filter.limit).unwrap_or(i64::MAX)));
    (query, values)
}

/// One run.
pub(super) fn one(sql: &Connection, id: i64) -> rusqlite::Result<Option<RecordedRun>> {
    sql.prepare_cached(&format!("SELECT id, {COLUMNS} FROM runs WHERE id = ?1"))?
        .query_row([id], read)
        .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<RecordedRun> {
    let run = Run {
        request_id: RequestId::from_text(&row.get::<_, String>(1)?),
        attempt: row.get(2)?,
        binding: row.get::<_, Option<String>>(3)?.map(BindingId::from),
        trigger: row.get(4)?,
        function: event_row::parse(row, 5, FunctionName::new)?,
        version: row.get(6)?,
        mode: event_row::parse(row, 7, parse_mode)?,
        status: event_row::parse(row, 8, |word| RunStatus::from_word(word).ok_or(UnknownWord))?,
        reason: row.get(9)?,
        started_at: event_row::time(row, 10)?,
        duration_ms: row.get(11)?,
        init_ms: row.get(12)?,
        max_memory_mb: row.get(13)?,
        input: Bytes::from(row.get::<_, Vec<u8>>(14)?),
        output: Bytes::from(row.get::<_, Vec<u8>>(15)?),
        log: row.get(16)?,
    };
    Ok(RecordedRun { id: row.get(0)?, run })
}

fn parse_mode(word: &str) -> Result<InvokeMode, UnknownWord> {
    [InvokeMode::Sync, InvokeMode::Async]
        .into_iter()
        .find(|mode| mode_word(*mode) == word)
        .ok_or(UnknownWord)
}

/// The database holds a word that this release never wrote.
#[derive(Debug, thiserror::Error)]
#[error("not a word of the history")]
struct UnknownWord;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::sqlite::schema;
    use crate::tests::{function, run};

    fn history() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("db");
        std::fs::write(&database, "").unwrap();
        let sql = schema::open_writer(&database, &|_| ()).unwrap();
        (dir, sql)
    }

    #[test]
    fn filters_use_indexes_and_need_no_sorting() {
        let (_dir, sql) = history();
        let request_id = Some(RequestId::from_text("1"));
        let binding = Some(BindingId::from_text("f/b"));
        let (f, status) = (Some(function("f")), Some(RunStatus::Failed));
        let none = RunFilter {
            limit: 10,
            ..RunFilter::default()
        };
        let cases = [
            (none.clone(), "SEARCH runs USING INTEGER PRIMARY KEY (rowid<?)"),
            (
                RunFilter { status, ..none.clone() },
                "SEARCH runs USING INDEX runs_status (status=? AND rowid<?)",
            ),
            (
                RunFilter {
                    function: f.clone(),
                    ..none.clone()
                },
                "SEARCH runs USING INDEX runs_function (function=? AND id<?)",
            ),
            (
                RunFilter {
                    function: f.clone(),
                    status,
                    ..none.clone()
                },
                "SEARCH runs USING INDEX runs_function (function=? AND id<?)",
            ),
            (
                RunFilter {
                    binding: binding.clone(),
                    function: f.clone(),
                    status,
                    ..none.clone()
                },
                "SEARCH runs USING INDEX runs_binding (binding=? AND id<?)",
            ),
            (
                RunFilter {
                    request_id,
                    binding,
                    function: f,
                    status,
                    ..none
                },
                "SEARCH runs USING INDEX runs_request (request_id=? AND rowid<?)",
            ),
        ];
        for (filter, expected) in cases {
            let (query, values) = select(&filter, filter.request_id.as_ref().map(|_| InvokeMode::Async));
            let mut plan = sql.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let steps = plan
                .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
                .unwrap();
            assert_eq!(steps.collect::<Result<Vec<_>, _>>().unwrap(), [expected], "{filter:?}");
        }
    }

    #[test]
    fn large_runs_push_out_older_ones_but_not_all() {
        let (_dir, sql) = history();
        let large = |i: i64| Run {
            input: vec![0; 10_000].into(),
            ..run("f", &i.to_string())
        };
        let add = |runs: std::ops::Range<i64>, most| {
            insert(&sql, &runs.map(large).collect::<Vec<_>>()).unwrap();
            keep(&sql, most, 0).unwrap();
            sql.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        assert_eq!(add(0..1_500, 20_000_000), 1_500);
        assert_eq!(add(1_500..1_600, 10_000_000), 1_600 - STEP);
        assert_eq!(add(1_600..1_600, 10_000_000), 1_600 - 2 * STEP);
        assert_eq!(add(1_600..1_600, 10_000_000), KEPT_ALWAYS);
        assert_eq!(
            add(1_600..1_600, 20_000_000),
            KEPT_ALWAYS,
            "the room of those that went is free again"
        );
        assert_eq!(add(1_600..1_700, 20_000_000), KEPT_ALWAYS + 100);
    }

    #[test]
    fn the_oldest_are_pruned_in_small_steps() {
        let (_dir, sql) = history();
        let runs: Vec<_> = (0..10).map(|i| run("f", &i.to_string())).collect();
        insert(&sql, &runs).unwrap();
        let kept = || {
            list(
                &sql,
                &RunFilter {
                    limit: 100,
                    ..RunFilter::default()
                },
            )
            .unwrap()
        };
        for (step, expected) in [(2, 8), (2, 6), (2, 5), (2, 5)] {
            prune(&sql, 5, step).unwrap();
            assert_eq!(kept().len(), expected);
        }
        assert_eq!(kept()[0].run.request_id.as_str(), "9");
    }
}

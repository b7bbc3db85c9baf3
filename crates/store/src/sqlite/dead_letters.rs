//! The dead letters' statements.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hikigane_model::FunctionName;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::event_row::{self, COLUMNS, COLUMNS_OF_A_LIST, micros};
use crate::{Burial, DeadLetter, NewEvent};

/// Which dead letters are meant, by parameters 1 and 2: one, or all of a function, or all.
fn selected(id: Option<i64>, function: Option<&FunctionName>) -> &'static str {
    match (id, function) {
        (Some(_), _) => "id = ?1 AND (?2 IS NULL OR function = ?2)",
        (None, Some(_)) => "?1 IS NULL AND function = ?2",
        (None, None) => "?1 IS NULL AND ?2 IS NULL",
    }
}

/// Copies an event from the queue to the dead letters.
pub(super) fn bury(sql: &Connection, queued: i64, burial: &Burial) -> rusqlite::Result<()> {
    let mut statement = sql.prepare_cached(&format!(
        "INSERT INTO dead_letters ({COLUMNS}, condition, attempts, response, at)
         SELECT {COLUMNS}, ?2, ?3, ?4, ?5 FROM queue WHERE id = ?1"
    ))?;
    let response = burial.response.as_deref();
    statement.execute(params![
        queued,
        burial.condition,
        burial.attempts,
        response,
        micros(burial.at)
    ])?;
    Ok(())
}

/// Keeps what is left of an event that is not as it was written. Its checksum is a wrong one: when it is redriven, it comes back.
pub(super) fn bury_damaged(sql: &Connection, event: &NewEvent, at: DateTime<Utc>) -> rusqlite::Result<()> {
    let mut statement = sql.prepare_cached(&format!(
        "INSERT INTO dead_letters ({COLUMNS}, condition, attempts, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'Damaged', 0, ?13)"
    ))?;
    event_row::values(
        event,
        !event_row::checksum(event),
        |[a, b, c, d, e, f, g, h, i, j, k, l]| statement.execute([a, b, c, d, e, f, g, h, i, j, k, l, &micros(at)]),
    )?;
    Ok(())
}

/// Dead letters, newest first, without payloads and responses.
pub(super) fn list(
    sql: &Connection,
    function: Option<&FunctionName>,
    limit: usize,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let columns = format!("SELECT id, condition, attempts, NULL, at, {COLUMNS_OF_A_LIST} FROM dead_letters");
    match function {
        Some(function) => sql
            .prepare_cached(&format!("{columns} WHERE function = ?1 ORDER BY id DESC LIMIT ?2"))?
            .query_map(params![function.as_str(), limit], read)?
            .collect(),
        None => sql
            .prepare_cached(&format!("{columns} ORDER BY id DESC LIMIT ?1"))?
            .query_map([limit], read)?
            .collect(),
    }
}

/// One dead letter.
pub(super) fn one(sql: &Connection, id: i64) -> rusqlite::Result<Option<DeadLetter>> {
    sql.prepare_cached(&format!(
        "SELECT id, condition, attempts, response, at, {COLUMNS} FROM dead_letters WHERE id = ?1"
    ))?
    .query_row([id], read)
    .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let burial = Burial {
        condition: row.get(1)?,
        attempts: row.get(2)?,
        response: row.get::<_, Option<Vec<u8>>>(3)?.map(Bytes::from),
        at: event_row::time(row, 4)?,
    };
    Ok(DeadLetter {
        id: row.get(0)?,
        event: match event_row::read(row, 5) {
            // It is looked at, and not run.
            Err(error) if event_row::is_damage(&error) => event_row::read_damaged(row, 5)?,
            event => event?,
        },
        burial,
    })
}

/// Moves dead letters into the queue, in the order they were buried, as if they were accepted now.
pub(super) fn redrive(
    sql: &Connection,
    id: Option<i64>,
    function: Option<&FunctionName>,
    now: DateTime<Utc>,
) -> rusqlite::Result<u64> {
    let newest: i64 = sql.query_row("SELECT coalesce(max(id), 0) FROM queue", [], |row| row.get(0))?;
    let accepted_now = COLUMNS.replace("accepted_at", "?3");
    let selected_letters = selected(id, function);
    sql.execute(
        &format!(
            "INSERT INTO queue ({COLUMNS}, due, attempts, throttles, blocked)
             SELECT {accepted_now}, ?3, 0, 0, 0 FROM dead_letters WHERE {selected_letters} ORDER BY id"
        ),
        params![id, function.map(FunctionName::as_str), micros(now)],
    )?;
    sql.execute(
        "UPDATE queue SET blocked = 1 WHERE id > ?1 AND group_name IS NOT NULL
         AND EXISTS (SELECT 1 FROM queue AS earlier WHERE earlier.group_name = queue.group_name AND earlier.id < queue.id)",
        [newest],
    )?;
    purge(sql, id, function)
}

/// Deletes dead letters.
pub(super) fn purge(sql: &Connection, id: Option<i64>, function: Option<&FunctionName>) -> rusqlite::Result<u64> {
    let mut statement = sql.prepare_cached(&format!("DELETE FROM dead_letters WHERE {}", selected(id, function)))?;
    Ok(statement.execute(params![id, function.map(FunctionName::as_str)])? as u64)
}

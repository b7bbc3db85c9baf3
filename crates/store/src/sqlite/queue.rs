//! The queue's statements.

use std::collections::{BinaryHeap, HashSet};
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use hikigane_model::{BindingId, FunctionName};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::event_row::{self, COLUMNS, micros};
use super::leases::Leases;
use super::writer::{Failure, Tx};
use super::{dead_letters, state};
use crate::{Lease, NamespacedWrite, NewEvent, Run, Settlement, StoreError};

/// Puts an event into the queue, with its state writes.
pub(super) fn enqueue(sql: &Connection, event: &NewEvent, writes: &[NamespacedWrite]) -> rusqlite::Result<()> {
    insert(sql, event, event.accepted_at)?;
    state::write(sql, writes)
}

fn insert(sql: &Connection, event: &NewEvent, due: DateTime<Utc>) -> rusqlite::Result<()> {
    let mut statement = sql.prepare_cached(&format!(
        "INSERT INTO queue ({COLUMNS}, due, attempts, throttles, blocked)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, 0,
                 ?9 IS NOT NULL AND EXISTS (SELECT 1 FROM queue WHERE group_name = ?9))"
    ))?;
    event_row::values(
        event,
        event_row::checksum(event),
        |[a, b, c, d, e, f, g, h, i, j, k, l]| statement.execute([a, b, c, d, e, f, g, h, i, j, k, l, &micros(due)]),
    )?;
    Ok(())
}

/// Due events of functions that are not busy, oldest first, leased. One that is not as it was written becomes a dead letter instead.
pub(super) fn lease(
    tx: &mut Tx<'_>,
    now: DateTime<Utc>,
    max: usize,
    busy: &HashSet<FunctionName>,
) -> Result<Vec<Lease>, Failure> {
    let time = now;
    let now = micros(now);
    // The `max` oldest so far; the youngest of them on top.
    let mut chosen = BinaryHeap::new();
    for_each_ready(tx.sql, tx.leases, busy, |due, id| {
        if due > now || chosen.len() >= max && chosen.peek().is_none_or(|youngest| (due, id) > *youngest) {
            return ControlFlow::Break(());
        }
        chosen.push((due, id));
        if chosen.len() > max {
            chosen.pop();
        }
        ControlFlow::Continue(())
    })?;
    let sql = tx.sql;
    let mut statement = sql.prepare_cached(&format!(
        "SELECT {COLUMNS}, attempts, throttles FROM queue WHERE id = ?1"
    ))?;
    let mut has_buried = false;
    let mut leases = Vec::with_capacity(chosen.len());
    for (_, id) in chosen.into_sorted_vec() {
        let read = statement.query_row([id], |row| {
            Ok(match read_lease(row, id) {
                Err(error) if event_row::is_damage(&error) => Err(event_row::read_damaged(row, 0)?),
                lease => Ok(lease?),
            })
        });
        match read.optional()? {
            Some(Ok(lease)) => leases.push(lease),
            Some(Err(damaged)) => {
                dead_letters::bury_damaged(sql, &damaged, time)?;
                remove(sql, id)?;
                has_buried = true;
            }
            None => return Err(Failure::damage("an index names an event that is not there")),
        }
    }
    if has_buried {
        // The group that the event says may not be the one it was of.
        unblock(sql)?;
    }
    for lease in &mut leases {
        lease.token = tx.leases.grant(lease.id);
    }
    Ok(leases)
}

fn read_lease(row: &Row<'_>, id: i64) -> rusqlite::Result<Lease> {
    Ok(Lease {
        id,
        token: 0,
        event: event_row::read(row, 0)?,
        attempts: row.get(event_row::COUNT)?,
        throttles: row.get(event_row::COUNT + 1)?,
    })
}

/// Makes events due `now` that are due only after `beyond`.
pub(super) fn hasten(sql: &Connection, beyond: DateTime<Utc>, now: DateTime<Utc>) -> rusqlite::Result<()> {
    sql.execute(HASTEN, params![micros(beyond), micros(now)]).map(drop)
}

const HASTEN: &str = "UPDATE queue SET due = ?2 WHERE due > ?1";

/// When the next event that [`lease`] would give is due.
pub(super) fn next_due(tx: &mut Tx<'_>, busy: &HashSet<FunctionName>) -> Result<Option<DateTime<Utc>>, Failure> {
    let mut earliest = None;
    for_each_ready(tx.sql, tx.leases, busy, |due, _| {
        earliest = Some(earliest.map_or(due, |earliest: i64| earliest.min(due)));
        ControlFlow::Break(())
    })?;
    Ok(earliest.and_then(DateTime::from_timestamp_micros))
}

/// Visits the events that nothing but their due time holds back, of each function in order of due time and acceptance,
/// until `visit` breaks off the function.
///
/// It walks the index function by function, so that a long backlog of a busy function, or behind the first of a group,
/// costs nothing. Leased events stand in the index, too: there are only as many as run at one time.
fn for_each_ready(
    sql: &Connection,
    leases: &Leases,
    busy: &HashSet<FunctionName>,
    mut visit: impl FnMut(i64, i64) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut next_function = sql.prepare_cached(NEXT_FUNCTION)?;
    let mut events = sql.prepare_cached(READY)?;
    let mut function = Vec::new();
    while let Some(next) = next_function.query_row([&function], bytes)? {
        function = next;
        if str::from_utf8(&function).is_ok_and(|function| busy.contains(function)) {
            continue;
        }
        let mut rows = events.query([&function])?;
        while let Some(row) = rows.next()? {
            let (due, id) = (row.get(0)?, row.get(1)?);
            if !leases.is_leased(id) && visit(due, id).is_break() {
                break;
            }
        }
    }
    Ok(())
}

const NEXT_FUNCTION: &str = "SELECT min(function) FROM queue WHERE blocked = 0 AND function > CAST(?1 AS TEXT)";
const READY: &str = "SELECT due, id FROM queue WHERE blocked = 0 AND function = CAST(?1 AS TEXT) ORDER BY due, id";

/// Ends a lease.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    lease: (i64, i64),
    settlement: &Settlement,
    run: Option<&Run>,
    follow: Option<&NewEvent>,
) -> Result<(), Failure> {
    let (id, token) = lease;
    if !tx.leases.holds(id, token) {
        return Err(StoreError::LeaseLost.into());
    }
    match settlement {
        Settlement::Done => remove(tx.sql, id)?,
        Settlement::Bury(burial) => {
            dead_letters::bury(tx.sql, id, burial)?;
            remove(tx.sql, id)?;
        }
        Settlement::Retry {
            due,
            attempts,
            throttles,
        } => {
            let mut statement = tx
                .sql
                .prepare_cached("UPDATE queue SET due = ?2, attempts = ?3, throttles = ?4 WHERE id = ?1")?;
            statement.execute(params![id, micros(*due), attempts, throttles])?;
        }
        Settlement::Release => {}
    }
    tx.record(run)?;
    if let Some(event) = follow {
        enqueue(tx.sql, event, &[])?;
    }
    tx.leases.end(id);
    Ok(())
}

/// Takes an event out, and lets the next of its group go.
fn remove(sql: &Connection, id: i64) -> rusqlite::Result<()> {
    let mut statement = sql.prepare_cached("DELETE FROM queue WHERE id = ?1 RETURNING group_name")?;
    if let Some(group) = statement.query_row([id], bytes).optional()?.flatten() {
        let mut next = sql.prepare_cached(
            "UPDATE queue SET blocked = 0
             WHERE id = (SELECT id FROM queue WHERE group_name = CAST(?1 AS TEXT) ORDER BY id LIMIT 1)",
        )?;
        next.execute([group])?;
    }
    Ok(())
}

/// Lets go what no earlier event of its group holds back. Only damage makes this needed: it looks at the whole queue.
pub(super) fn unblock(sql: &Connection) -> rusqlite::Result<()> {
    sql.execute(
        "UPDATE queue SET blocked = 0 WHERE blocked <> 0 AND NOT EXISTS
            (SELECT 1 FROM queue AS earlier WHERE earlier.group_name = queue.group_name AND earlier.id < queue.id)",
        [],
    )
    .map(drop)
}

/// The text of the first column as it is: when it is damaged it need not be text.
fn bytes(row: &Row<'_>) -> rusqlite::Result<Option<Vec<u8>>> {
    Ok(row.get_ref(0)?.as_bytes_or_null()?.map(<[u8]>::to_vec))
}

/// Takes all events out.
pub(super) fn forget(sql: &Connection) -> rusqlite::Result<()> {
    sql.execute("DELETE FROM queue", []).map(drop)
}

/// How many events of the binding are in the queue.
pub(super) fn pending(sql: &Connection, binding: &BindingId) -> rusqlite::Result<u64> {
    let mut statement = sql.prepare_cached("SELECT count(*) FROM queue WHERE binding = ?1")?;
    let count: i64 = statement.query_row([binding.as_str()], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// How many events are in the queue.
pub(super) fn depth(sql: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = sql.prepare_cached(DEPTH)?.query_row([], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// SQLite counts the entries of the smallest index.
const DEPTH: &str = "SELECT count(*) FROM queue";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::sqlite::schema;

    #[test]
    fn no_statement_reads_the_whole_queue() {
        let sql = Connection::open_in_memory().unwrap();
        for step in schema::MIGRATIONS {
            sql.execute_batch(step).unwrap();
        }
        for (query, expected) in [
            (HASTEN, "SEARCH queue USING INDEX queue_due (due>?)"),
            (DEPTH, "SCAN queue USING COVERING INDEX queue_due"),
            (
                NEXT_FUNCTION,
                "SEARCH queue USING COVERING INDEX queue_ready (function>?)",
            ),
            (READY, "SEARCH queue USING COVERING INDEX queue_ready (function=?)"),
        ] {
            let mut plan = sql.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let mut steps = plan.raw_query();
            let step: String = steps.next().unwrap().unwrap().get(3).unwrap();
            assert_eq!(step, expected, "{query}");
            assert!(steps.next().unwrap().is_none(), "{query}");
        }
    }
}

//! The columns that the queue and the dead letters have in common, and how values look in columns.
//!
//! An event carries a checksum. SQLite has none outside its log, and hands over what a failing disk made of a payload.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hikigane_model::{BindingId, FunctionName, Qualifier, RequestId};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Row, ToSql};

use crate::NewEvent;

/// The columns of an event, in the order that [`read`] and [`values`] keep.
pub(super) const COLUMNS: &str = "request_id, binding, trigger, function, version, invoked_arn, client_context, trace, group_name, \
                                  accepted_at, payload, checksum";
/// The same, without the payload and what would tell that it is missing.
pub(super) const COLUMNS_OF_A_LIST: &str = "request_id, binding, trigger, function, version, invoked_arn, client_context, trace, \
                                            group_name, accepted_at, x'', NULL";
/// How many they are.
pub(super) const COUNT: usize = 12;

/// Reads an event whose columns begin at `first`. [`is_damage`] tells of an error whether the event is not as it was written.
pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<NewEvent> {
    let event = NewEvent {
        request_id: RequestId::from_text(&row.get::<_, String>(first)?),
        binding: row.get::<_, Option<String>>(first + 1)?.map(BindingId::from),
        trigger: row.get(first + 2)?,
        function: parse(row, first + 3, FunctionName::new)?,
        version: parse(row, first + 4, Qualifier::new)?,
        invoked_arn: row.get(first + 5)?,
        client_context: row.get(first + 6)?,
        trace: row.get(first + 7)?,
        group: row.get(first + 8)?,
        accepted_at: time(row, first + 9)?,
        payload: Bytes::from(row.get::<_, Vec<u8>>(first + 10)?),
    };
    match row.get::<_, Option<u32>>(first + 11)? {
        Some(written) if written != checksum(&event) => Err(rusqlite::Error::FromSqlConversionFailure(
            first + 11,
            Type::Integer,
            Box::new(NotAsWritten),
        )),
        // Accepted by a release that wrote none.
        _ => Ok(event),
    }
}

/// Whether it is the event that is wrong, and not the database.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
    )
}

/// What can be shown of an event that [`read`] refuses.
pub(super) fn read_damaged(row: &Row<'_>, first: usize) -> rusqlite::Result<NewEvent> {
    let bytes = |column: usize| -> rusqlite::Result<_> {
        Ok(match row.get_ref(first + column)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
            _ => None,
        })
    };
    let text =
        |column| -> rusqlite::Result<_> { Ok(bytes(column)?.map(|bytes| String::from_utf8_lossy(bytes).into_owned())) };
    let some_text = |column| text(column).map(Option::unwrap_or_default);
    let function = FunctionName::new(&some_text(3)?).or_else(|_| FunctionName::new(NAMELESS));
    Ok(NewEvent {
        request_id: RequestId::from_text(&some_text(0)?),
        binding: text(1)?.map(BindingId::from),
        trigger: some_text(2)?,
        function: function
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(first + 3, Type::Text, Box::new(error)))?,
        version: Qualifier::new(&some_text(4)?).unwrap_or(Qualifier::Latest),
        invoked_arn: some_text(5)?,
        client_context: text(6)?,
        trace: text(7)?,
        group: text(8)?,
        accepted_at: time(row, first + 9).unwrap_or_default(),
        payload: Bytes::copy_from_slice(bytes(10)?.unwrap_or_default()),
    })
}

/// The function of an event whose function's name is lost.
const NAMELESS: &str = "damaged";

/// A checksum of all that says what to run. Not of the time of acceptance, which is another when the event is redriven.
pub(super) fn checksum(event: &NewEvent) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    let mut add = |field: Option<&[u8]>| {
        let length = field.map_or(u64::MAX, |bytes| bytes.len() as u64);
        hash.update(&length.to_le_bytes());
        hash.update(field.unwrap_or_default());
    };
    add(Some(event.request_id.as_str().as_bytes()));
    add(event.binding.as_ref().map(|binding| binding.as_str().as_bytes()));
    add(Some(event.trigger.as_bytes()));
    add(Some(event.function.as_str().as_bytes()));
    add(Some(event.version.to_string().as_bytes()));
    add(Some(event.invoked_arn.as_bytes()));
    for text in [&event.client_context, &event.trace, &event.group] {
        add(text.as_deref().map(str::as_bytes));
    }
    add(Some(&event.payload));
    hash.finalize()
}

/// The checksum says so.
#[derive(Debug, thiserror::Error)]
#[error("the event is not as it was written")]
struct NotAsWritten;

/// Hands the columns of an event to `use_them`.
pub(super) fn values<T>(event: &NewEvent, checksum: u32, use_them: impl FnOnce([&dyn ToSql; COUNT]) -> T) -> T {
    let binding = event.binding.as_ref().map(BindingId::as_str);
    use_them([
        &event.request_id.as_str(),
        &binding,
        &event.trigger,
        &event.function.as_str(),
        &event.version.to_string(),
        &event.invoked_arn,
        &event.client_context,
        &event.trace,
        &event.group,
        &micros(event.accepted_at),
        &event.payload.as_ref(),
        &checksum,
    ])
}

/// A time as the database keeps it.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// A time that [`micros`] made.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<DateTime<Utc>> {
    let micros = row.get(column)?;
    DateTime::from_timestamp_micros(micros).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, micros))
}

/// A value that is kept as text.
pub(super) fn parse<T, E: std::error::Error + Send + Sync + 'static>(
    row: &Row<'_>,
    column: usize,
    parser: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    parser(text).map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

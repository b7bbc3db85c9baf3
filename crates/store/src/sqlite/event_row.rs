//! The columns that the queue and the dead letters have in common, and how values look in columns.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hikigane_model::{BindingId, FunctionName, Qualifier, RequestId};
use rusqlite::types::Type;
use rusqlite::{Row, ToSql};

use crate::NewEvent;

/// The columns of an event, in the order that [`read`] and [`values`] keep.
pub(super) const COLUMNS: &str = "request_id, binding, trigger, function, version, invoked_arn, client_context, trace, group_name, \
                                  accepted_at, payload";
/// How many they are.
pub(super) const COUNT: usize = 11;

/// Reads an event whose columns begin at `first`.
pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<NewEvent> {
    Ok(NewEvent {
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
    })
}

/// Hands the columns of an event to `use_them`.
pub(super) fn values<T>(event: &NewEvent, use_them: impl FnOnce([&dyn ToSql; COUNT]) -> T) -> T {
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

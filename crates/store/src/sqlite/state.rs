//! The statements of the plug-ins' state.

use rusqlite::{Connection, OptionalExtension, params};

use crate::NamespacedWrite;

/// Sets and deletes keys.
pub(super) fn write(sql: &Connection, writes: &[NamespacedWrite]) -> rusqlite::Result<()> {
    for NamespacedWrite { namespace, write } in writes {
        match &write.value {
            Some(value) => sql
                .prepare_cached("INSERT OR REPLACE INTO state (namespace, key, value) VALUES (?1, ?2, ?3)")?
                .execute(params![namespace, write.key, value])?,
            None => sql
                .prepare_cached("DELETE FROM state WHERE namespace = ?1 AND key = ?2")?
                .execute(params![namespace, write.key])?,
        };
    }
    Ok(())
}

/// The value of a key.
pub(super) fn get(sql: &Connection, namespace: &str, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    sql.prepare_cached("SELECT value FROM state WHERE namespace = ?1 AND key = ?2")?
        .query_row([namespace, key], |row| row.get(0))
        .optional()
}

/// The keys that begin with `prefix`: in order of bytes they follow each other.
pub(super) fn scan(sql: &Connection, namespace: &str, prefix: &str) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let mut statement =
        sql.prepare_cached("SELECT key, value FROM state WHERE namespace = ?1 AND key >= ?2 ORDER BY key")?;
    let mut rows = statement.query([namespace, prefix])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        found.push((key, row.get(1)?));
    }
    Ok(found)
}

//! The statements of the catalog.

use rusqlite::{Connection, params};

use crate::{Document, DocumentWrite};

/// Puts and deletes documents.
pub(super) fn write(sql: &Connection, writes: &[DocumentWrite]) -> rusqlite::Result<()> {
    for DocumentWrite { kind, key, body } in writes {
        match body {
            Some(body) => sql
                .prepare_cached("INSERT OR REPLACE INTO catalog (kind, key, body) VALUES (?1, ?2, ?3)")?
                .execute(params![kind, key, body])?,
            None => sql
                .prepare_cached("DELETE FROM catalog WHERE kind = ?1 AND key = ?2")?
                .execute(params![kind, key])?,
        };
    }
    Ok(())
}

/// All documents, ordered by kind and key.
pub(super) fn load(sql: &Connection) -> rusqlite::Result<Vec<Document>> {
    let mut statement = sql.prepare_cached("SELECT kind, key, body FROM catalog ORDER BY kind, key")?;
    let rows = statement.query_map([], |row| {
        Ok(Document {
            kind: row.get(0)?,
            key: row.get(1)?,
            body: row.get(2)?,
        })
    })?;
    rows.collect()
}

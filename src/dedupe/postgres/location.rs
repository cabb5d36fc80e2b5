//! The schema and the database of the tables.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::super::namespace::Namespace;

/// The location of a namespace's tables, found when the store connects.
///
/// Statements contain it, so that they concern the same tables on every connection. By its name alone a table depends
/// on the connection's `search_path`, which the hooks of the application's pool can set, and a temporary table hides
/// it.
#[derive(Debug)]
pub(super) struct Location {
    /// The beginning of the tables' names, with their schema: `"schema".namespace`.
    in_database: Box<str>,
    /// The same with the name of the database. The server rejects statements on tables of another database.
    #[cfg(feature = "sqlx-09")]
    in_server: Box<str>,
}

impl Location {
    /// Finds the schema on the connection's `search_path` that has the table `_schema` of a namespace.
    pub(super) async fn find(
        connection: &mut PgConnection,
        namespace: &Namespace,
    ) -> Result<Option<Self>, sqlx::Error> {
        // Not `to_regclass`: on the same connection it can still return NULL after another instance has created the
        // table. A temporary table is not one of the store's.
        let find = "SELECT quote_ident(schema.nspname), quote_ident(current_database())
            FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)
            JOIN pg_namespace AS schema ON schema.nspname = path.name
            JOIN pg_class AS relation ON relation.relnamespace = schema.oid
            WHERE relation.relname = $1 AND schema.oid <> pg_my_temp_schema()
            ORDER BY path.place LIMIT 1";
        let name = namespace.as_str();
        let Some(row) = sqlx::query(find).bind(format!("{name}_schema")).fetch_optional(connection).await? else {
            return Ok(None);
        };
        let schema: String = row.try_get(0)?;
        Ok(Some(Location {
            in_database: format!("{schema}.{name}").into(),
            #[cfg(feature = "sqlx-09")]
            in_server: format!("{}.{schema}.{name}", row.try_get::<String, _>(1)?).into(),
        }))
    }

    pub(super) fn in_database(&self) -> &str {
        &self.in_database
    }

    #[cfg(feature = "sqlx-09")]
    pub(super) fn in_server(&self) -> &str {
        &self.in_server
    }
}

/// Returns whether the server rejected a statement on tables of another database.
#[cfg(feature = "sqlx-09")]
pub(super) fn is_of_another_database(error: &sqlx::Error) -> bool {
    // `feature_not_supported`: no other feature of the statement can be missing.
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "0A000")
}

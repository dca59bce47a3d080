//! Groups of users and what their members may do.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, now};

/// Groups there may be.
const MAX_GROUPS: i64 = 1000;

/// Users who share permissions.
#[derive(Clone, Debug)]
pub struct Group {
    /// A UUID.
    pub id: String,
    /// For a person.
    pub name: String,
    /// For a person.
    pub description: String,
    /// May its members make pictures?
    pub makes_pictures: bool,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
    /// How many members it has.
    pub members: i64,
}

impl Store {
    /// Adds a group. `None` where there are too many.
    pub async fn add_group(
        &self,
        name: &str,
        description: &str,
        makes_pictures: bool,
    ) -> sqlx::Result<Option<Group>> {
        let id = uuid::Uuid::new_v4().to_string();
        sqlx::query(
            "INSERT INTO user_groups (id, name, description, makes_pictures, created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, $5 WHERE (SELECT COUNT(*) FROM user_groups) < $6",
        )
        .bind(&id)
        .bind(name)
        .bind(description)
        .bind(i64::from(makes_pictures))
        .bind(now())
        .bind(MAX_GROUPS)
        .execute(&self.pool)
        .await?;
        self.group(&id).await
    }

    /// Changes a group.
    pub async fn update_group(&self, group: &Group) -> sqlx::Result<()> {
        sqlx::query(
            "UPDATE user_groups SET name = $2, description = $3, makes_pictures = $4, updated_at = $5
             WHERE id = $1",
        )
        .bind(&group.id)
        .bind(&group.name)
        .bind(&group.description)
        .bind(i64::from(group.makes_pictures))
        .bind(now())
        .execute(&self.pool)
        .await
        .map(|_| ())
    }

    /// The names of the groups that a user is in.
    pub async fn groups_of(&self, user_id: &str) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT user_groups.name FROM user_groups
             JOIN group_members ON group_members.group_id = user_groups.id
             WHERE group_members.user_id = $1",
        )
        .bind(user_id)
        .fetch_all(&self.pool)
        .await
    }

    /// Removes a group; its members stay.
    pub async fn delete_group(&self, id: &str) -> sqlx::Result<()> {
        let mut transaction = self.pool.begin().await?;
        for statement in [
            "DELETE FROM group_members WHERE group_id = $1",
            "DELETE FROM user_groups WHERE id = $1",
        ] {
            let delete = sqlx::query(statement).bind(id);
            delete.execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// A group.
    pub async fn group(&self, id: &str) -> sqlx::Result<Option<Group>> {
        let row = sqlx::query(
            "SELECT id, name, description, makes_pictures, created_at, updated_at,
                 (SELECT COUNT(*) FROM group_members WHERE group_id = id) AS members
             FROM user_groups WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// All groups by name.
    pub async fn groups(&self) -> sqlx::Result<Vec<Group>> {
        let rows = sqlx::query(
            "SELECT id, name, description, makes_pictures, created_at, updated_at,
                 (SELECT COUNT(*) FROM group_members WHERE group_id = id) AS members
             FROM user_groups ORDER BY name, id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Adds members to a group, all or none. Ids of nobody are passed over.
    pub async fn add_members(&self, group_id: &str, user_ids: &[String]) -> sqlx::Result<()> {
        let mut transaction = self.pool.begin().await?;
        for user_id in user_ids {
            sqlx::query(
                "INSERT INTO group_members (group_id, user_id)
                 SELECT user_groups.id, users.id FROM user_groups, users
                 WHERE user_groups.id = $1 AND users.id = $2 ON CONFLICT DO NOTHING",
            )
            .bind(group_id)
            .bind(user_id)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    /// Takes members out of a group, all or none.
    pub async fn remove_members(&self, group_id: &str, user_ids: &[String]) -> sqlx::Result<()> {
        let mut transaction = self.pool.begin().await?;
        for user_id in user_ids {
            sqlx::query("DELETE FROM group_members WHERE group_id = $1 AND user_id = $2")
                .bind(group_id)
                .bind(user_id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    /// Is the user in a group whose members may make pictures?
    pub async fn in_picture_group(&self, user_id: &str) -> sqlx::Result<bool> {
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM group_members
             JOIN user_groups ON user_groups.id = group_members.group_id
             WHERE user_id = $1 AND makes_pictures = 1",
        )
        .bind(user_id)
        .fetch_one(&self.pool)
        .await?;
        Ok(count > 0)
    }
}

fn read(row: &SqliteRow) -> sqlx::Result<Group> {
    Ok(Group {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        makes_pictures: row.try_get::<i64, _>("makes_pictures")? != 0,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        members: row.try_get("members")?,
    })
}

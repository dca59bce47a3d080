//! Groups of users and their permissions.

use super::database::{Row, query};
use super::identity_cache::UserGroups;
use super::{Store, now};

/// Groups of all users.
pub(super) const MAX_GROUPS: i64 = 1000;

/// Users who share permissions.
#[derive(Clone, Debug)]
pub struct Group {
    /// A UUID.
    pub id: String,
    pub name: String,
    pub description: String,
    /// Members have the permission `features.image_generation`.
    pub may_create_images: bool,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
    pub member_count: i64,
}

impl Store {
    /// Adds a group. Returns `None` if there are too many groups.
    pub async fn add_group(
        &self,
        name: &str,
        description: &str,
        may_create_images: bool,
    ) -> sqlx::Result<Option<Group>> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut transaction = self.begin().await?;
        query(
            "INSERT INTO user_groups (id, name, description, makes_pictures, created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, $5 WHERE (SELECT COUNT(*) FROM user_groups) < $6",
        )
        .bind(&id)
        .bind(name)
        .bind(description)
        .bind(i64::from(may_create_images))
        .bind(now())
        .bind(MAX_GROUPS)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.group(&id).await
    }

    /// Changes a group.
    pub async fn update_group(&self, group: &Group) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        query(
            "UPDATE user_groups SET name = $2, description = $3, makes_pictures = $4, updated_at = $5
             WHERE id = $1",
        )
        .bind(&group.id)
        .bind(&group.name)
        .bind(&group.description)
        .bind(i64::from(group.may_create_images))
        .bind(now())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// Removes a group but not its members.
    pub async fn delete_group(&self, id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        for statement in [
            "DELETE FROM group_members WHERE group_id = $1",
            "DELETE FROM user_groups WHERE id = $1",
        ] {
            query(statement).bind(id).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// One group.
    pub async fn group(&self, id: &str) -> sqlx::Result<Option<Group>> {
        let row = query(
            "SELECT id, name, description, makes_pictures, created_at, updated_at,
                 (SELECT COUNT(*) FROM group_members WHERE group_id = id) AS members
             FROM user_groups WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.database)
        .await?;
        row.as_ref().map(group_from_row).transpose()
    }

    /// All groups, sorted by name.
    pub async fn groups(&self) -> sqlx::Result<Vec<Group>> {
        let rows = query(
            "SELECT id, name, description, makes_pictures, created_at, updated_at,
                 (SELECT COUNT(*) FROM group_members WHERE group_id = id) AS members
             FROM user_groups ORDER BY name, id",
        )
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(group_from_row).collect()
    }

    /// Adds members to a group, all or none. Unknown user ids are ignored.
    pub async fn add_members(&self, group_id: &str, user_ids: &[String]) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        for user_id in user_ids {
            query(
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

    /// Removes members from a group, all or none.
    pub async fn remove_members(&self, group_id: &str, user_ids: &[String]) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        for user_id in user_ids {
            query("DELETE FROM group_members WHERE group_id = $1 AND user_id = $2")
                .bind(group_id)
                .bind(user_id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    /// The names of a user's groups.
    pub async fn groups_of(&self, user_id: &str) -> sqlx::Result<Vec<String>> {
        Ok(self.user_groups(user_id).await?.names)
    }

    /// True if one of the user's groups has the permission `features.image_generation`.
    pub async fn has_group_image_permission(&self, user_id: &str) -> sqlx::Result<bool> {
        Ok(self.user_groups(user_id).await?.may_create_images)
    }

    async fn user_groups(&self, user_id: &str) -> sqlx::Result<UserGroups> {
        let read = async || {
            let rows = query(
                "SELECT user_groups.name, makes_pictures FROM user_groups
                 JOIN group_members ON group_members.group_id = user_groups.id
                 WHERE group_members.user_id = $1",
            )
            .bind(user_id)
            .fetch_all(&self.database)
            .await?;
            let mut groups = UserGroups::default();
            for row in &rows {
                groups.names.push(row.try_get("name")?);
                groups.may_create_images |= row.try_get_flag("makes_pictures")?;
            }
            Ok(groups)
        };
        match &self.identities {
            Some(identities) => identities.groups(user_id, read).await,
            None => read().await,
        }
    }
}

fn group_from_row(row: &Row) -> sqlx::Result<Group> {
    Ok(Group {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        may_create_images: row.try_get_flag("makes_pictures")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        member_count: row.try_get("members")?,
    })
}

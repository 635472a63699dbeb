//! The stages of leads and deals as clients see them.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result};

use super::context::Ask;
use super::loaders::Stages;
use crate::model::StageId;
use crate::model::item::Stage as StageRow;

/// A stage of leads or of deals.
#[derive(Clone)]
pub struct Stage {
    ask: Ask,
    row: Arc<StageRow>,
}

impl Stage {
    /// A loaded stage.
    pub fn new(ask: &Ask, row: Arc<StageRow>) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The stage with this id, also one that was deleted: timelines tell of it.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: StageId) -> Result<Option<Self>> {
        let row = ask.load::<Stages>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }
}

/// A stage of leads or of deals. Set up at first: leads New, In process, Converted, Junk; deals New, Preparation, Proposal, Won, Lost.
#[Object]
impl Stage {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// What it means.
    async fn kind(&self) -> StageKind {
        self.row.kind.into()
    }

    /// Its place among the stages, from 1.
    async fn position(&self) -> i64 {
        self.row.position
    }

    /// Rises with every change; give it as `expectedVersion` to change only what was read.
    async fn version(&self) -> i64 {
        self.row.version
    }
}

/// What a stage means; items in any stage but an `OPEN` one are closed.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::item::StageKind")]
pub enum StageKind {
    /// Still being worked on.
    Open,
    /// A lead that became a deal or a contact; reached by `convertLead` only.
    Converted,
    /// A lead that leads nowhere.
    Junk,
    /// A deal that was made.
    Won,
    /// A deal that was not made.
    Lost,
}

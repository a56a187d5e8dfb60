use super::{MasterUrl, environment::Environment, password::Secret};
use crate::error::Result;
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
/// x
pub enum TokenStore {
    /// x
    #[default]
    Default,
    /// x
    Dir(std::path::PathBuf),
    /// x
    None,
}
#[derive(Clone)]
pub(crate) struct TokenStoreHandle {}
impl TokenStoreHandle {
    pub(crate) fn open(_: &TokenStore, _: &Environment, _: &MasterUrl) -> Result<Self> {
        Ok(Self {})
    }
    pub(crate) fn active_user(&self) -> Result<Option<String>> {
        Ok(None)
    }
    pub(crate) fn token(&self, _: &str) -> Result<Option<Secret>> {
        Ok(None)
    }
    pub(crate) fn set_token(&self, _: &str, _: &Secret) -> Result<()> {
        Ok(())
    }
    pub(crate) fn drop_token(&self, _: &str, _: &Secret) -> Result<()> {
        Ok(())
    }
}

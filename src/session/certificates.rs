use super::{MasterUrl, TokenStore, environment::Environment};
use crate::error::Result;
#[derive(Clone, Default)]
pub(crate) struct CertificateOptions {
    pub(crate) path: Option<std::path::PathBuf>,
    pub(crate) pem: Option<Vec<u8>>,
    pub(crate) name: Option<String>,
    pub(crate) noverify: bool,
}
pub(crate) struct CertificateSettings {
    pub(crate) pem: Option<Vec<u8>>,
    pub(crate) name: Option<String>,
    pub(crate) verify: bool,
}
impl CertificateSettings {
    pub(crate) fn resolve(
        o: &CertificateOptions,
        _: &TokenStore,
        _: &Environment,
        _: &MasterUrl,
    ) -> Result<Self> {
        Ok(Self {
            pem: o.pem.clone(),
            name: o.name.clone(),
            verify: !o.noverify,
        })
    }
}

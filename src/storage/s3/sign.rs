//! Signatures of requests to Amazon's services and to what speaks like them (Signature Version 4).

use ring::digest::{SHA256, digest};
use ring::hmac::{HMAC_SHA256, Key, Tag, sign};

use super::credentials::Credentials;
use crate::session::encode;

/// A request as it is signed.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    pub(super) host: &'a str,
    /// As it is sent, percent-encoded.
    pub(super) path: &'a str,
    /// Sorted by name, not encoded.
    pub(super) query: &'a [(String, String)],
    pub(super) body: &'a [u8],
}

/// For which service, where and when.
pub(super) struct Scope<'a> {
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    /// `20130524T000000Z`
    pub(super) time: &'a str,
}

/// The headers to send with a request: they are what is signed besides it, and the signature.
pub(super) fn headers(
    request: &Signable<'_>,
    scope: &Scope<'_>,
    credentials: &Credentials,
) -> Vec<(&'static str, String)> {
    let body_hash = hex(digest(&SHA256, request.body).as_ref());
    let mut headers = vec![
        ("host", request.host.to_owned()),
        ("x-amz-content-sha256", body_hash.clone()),
        ("x-amz-date", scope.time.to_owned()),
    ];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.expose().to_owned()));
    }
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let canonical = [
        request.method,
        request.path,
        &query_string(request.query),
        &lines,
        &names,
        &body_hash,
    ]
    .join("\n");
    let day = scope.time.get(..8).unwrap_or_default();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{place}\n{}",
        scope.time,
        hex(digest(&SHA256, canonical.as_bytes()).as_ref())
    );
    let secret = format!("AWS4{}", credentials.secret_key.expose());
    let key = [day, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).as_ref().to_vec()
        });
    let signature = hex(hmac(&key, to_sign.as_bytes()).as_ref());
    headers.push((
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{place}, SignedHeaders={names}, Signature={signature}",
            credentials.access_key
        ),
    ));
    headers
}

/// A query as it is sent and signed.
pub(super) fn query_string(query: &[(String, String)]) -> String {
    let pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

fn hmac(key: &[u8], data: &[u8]) -> Tag {
    sign(&Key::new(HMAC_SHA256, key), data)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example requests of Amazon's documentation of Signature Version 4.
    #[test]
    fn published_examples_are_signed_as_published() {
        let credentials = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
        );
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (query, signature) in [
            (
                vec![pair("lifecycle", "")],
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                vec![pair("max-keys", "2"), pair("prefix", "J")],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let request = Signable {
                method: "GET",
                host: "examplebucket.s3.amazonaws.com",
                path: "/",
                query: &query,
                body: b"",
            };
            let scope = Scope {
                service: "s3",
                region: "us-east-1",
                time: "20130524T000000Z",
            };
            let headers = headers(&request, &scope, &credentials);
            let authorization = &headers
                .iter()
                .find(|(name, _)| *name == "authorization")
                .unwrap()
                .1;
            assert_eq!(
                *authorization,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                     SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
                )
            );
        }
    }

    #[test]
    fn a_session_token_is_signed_too() {
        let credentials = Credentials::new("A", "S", Some("token"));
        let request = Signable {
            method: "GET",
            host: "h",
            path: "/",
            query: &[],
            body: b"",
        };
        let scope = Scope {
            service: "s3",
            region: "r",
            time: "20130524T000000Z",
        };
        let headers = headers(&request, &scope, &credentials);
        assert!(headers.contains(&("x-amz-security-token", "token".to_owned())));
        let authorization = &headers.last().unwrap().1;
        assert!(
            authorization.contains("x-amz-date;x-amz-security-token,"),
            "{authorization}"
        );
    }
}

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
    let mut headers = vec![("host", request.host.to_owned())];
    if scope.service == "s3" {
        headers.push(("x-amz-content-sha256", body_hash.clone()));
    }
    headers.push(("x-amz-date", scope.time.to_owned()));
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

    /// Requests of Amazon's test suite for Signature Version 4, by the names that they have there.
    #[test]
    fn the_published_test_suite_is_signed_as_published() {
        const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let two = [pair("Param1", "value1"), pair("Param2", "value2")];
        let utf8 = format!("/{}", encode(&"\u{1234}"));
        let unreserved = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for (name, method, path, query, token, signature) in [
            (
                "get-vanilla",
                "GET",
                "/",
                &[][..],
                None,
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/",
                &two,
                None,
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-utf8",
                "GET",
                &utf8,
                &[],
                None,
                "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            ),
            (
                "get-unreserved",
                "GET",
                unreserved,
                &[],
                None,
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            (
                "post-vanilla",
                "POST",
                "/",
                &[],
                None,
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-sts-header-before",
                "POST",
                "/",
                &[],
                Some(TOKEN),
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let request = Signable {
                method,
                host: "example.amazonaws.com",
                path,
                query,
                body: b"",
            };
            let scope = Scope {
                service: "service",
                region: "us-east-1",
                time: "20150830T123600Z",
            };
            let credentials = Credentials::new(
                "AKIDEXAMPLE",
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                token,
            );
            let headers = headers(&request, &scope, &credentials);
            let authorization = &headers.last().unwrap().1;
            let shown = authorization.split("Signature=").nth(1);
            assert_eq!(shown, Some(signature), "{name}: {authorization}");
        }
    }
}

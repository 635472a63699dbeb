//! Many clients that ask as fast as they are answered.

use super::common::percentile;
use rand::Rng as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is asked for, of whom.
pub struct Load {
    http: reqwest::Client,
    requests: Arc<Vec<reqwest::Request>>,
}

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub per_second: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
    pub bytes_each: f64,
}

impl Load {
    /// GraphQL requests with these bodies, one of them at random each time.
    pub fn posts(url: String, token: &str, bodies: Vec<String>) -> Self {
        let http = reqwest::Client::new();
        let requests = bodies
            .into_iter()
            .map(|body| {
                http.post(&url)
                    .bearer_auth(token)
                    .header("content-type", "application/json")
                    .header("accept", "application/graphql-response+json")
                    .body(body)
                    .build()
                    .unwrap()
            })
            .collect();
        Self {
            http,
            requests: Arc::new(requests),
        }
    }

    /// Requests of these addresses, one of them at random each time.
    pub fn gets(urls: Vec<String>) -> Self {
        let http = reqwest::Client::new();
        let requests = urls.into_iter().map(|url| http.get(url).build().unwrap());
        let requests = Arc::new(requests.collect());
        Self { http, requests }
    }

    /// Asks on so many connections for so long, and before that for a fifth of it, which is not counted.
    pub async fn run(&self, connections: usize, duration: Duration) -> Measured {
        self.asked(connections, duration / 5).await;
        let started = Instant::now();
        let answers = self.asked(connections, duration).await;
        let seconds = started.elapsed().as_secs_f64();
        let mut times: Vec<f64> = answers.iter().map(|(time, _bytes)| *time).collect();
        times.sort_by(f64::total_cmp);
        let bytes: f64 = answers.iter().map(|(_time, bytes)| *bytes as f64).sum();
        Measured {
            per_second: times.len() as f64 / seconds,
            median_ms: percentile(&times, 50),
            p99_ms: percentile(&times, 99),
            bytes_each: bytes / times.len() as f64,
        }
    }

    /// Milliseconds and bytes of each answer.
    async fn asked(&self, connections: usize, duration: Duration) -> Vec<(f64, usize)> {
        let until = Instant::now() + duration;
        let mut clients = Vec::new();
        for _client in 0..connections {
            let (http, requests) = (self.http.clone(), Arc::clone(&self.requests));
            clients.push(tokio::spawn(async move {
                let mut answers = Vec::new();
                while Instant::now() < until {
                    let which = rand::rng().random_range(0..requests.len());
                    let request = requests[which].try_clone().unwrap();
                    let asked = Instant::now();
                    let answer = http.execute(request).await.unwrap();
                    assert_eq!(answer.status().as_u16(), 200);
                    let body = answer.bytes().await.unwrap();
                    answers.push((asked.elapsed().as_secs_f64() * 1e3, body.len()));
                }
                answers
            }));
        }
        let mut answers = Vec::new();
        for client in clients {
            answers.extend(client.await.unwrap());
        }
        answers
    }
}

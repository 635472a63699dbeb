//! Passwords: links to set one, setting one by such a link, changing one's own.

use async_graphql::{Context, ID, InputObject, Object, Result};
use secrecy::SecretString;

use super::{answer, payload};
use crate::actions::passwords;
use crate::graphql::context::{Ask, services};
use crate::graphql::scalars::DateTime;

/// Whose password is to be set by a link.
#[derive(InputObject)]
pub struct CreatePasswordResetInput {
    /// The user, who is active.
    user_id: ID,
}

/// A password to set behind a link.
#[derive(InputObject)]
pub struct ResetPasswordInput {
    /// What stands behind `#token=` in the link.
    #[graphql(secret)]
    token: String,
    /// The new password, of 8 characters or more.
    #[graphql(secret)]
    password: String,
}

/// A password to change.
#[derive(InputObject)]
pub struct ChangePasswordInput {
    /// The password as it is.
    #[graphql(secret)]
    current: String,
    /// The new one, of 8 characters or more.
    #[graphql(secret)]
    new: String,
}

payload! {
    /// A link to hand to the user. It is shown once.
    CreatePasswordResetPayload {
        /// The address of the page where the user sets the password; good once.
        url: String,
        /// When the link is over.
        expires_at: DateTime,
    }
}
payload! {
    /// The password is set: log in with it.
    ResetPasswordPayload {}
}
payload! {
    /// The password is changed: log in with it.
    ChangePasswordPayload {}
}

/// Passwords.
#[derive(Default)]
pub struct PasswordMutation;

#[Object]
impl PasswordMutation {
    /// Makes a one-time link by which a user sets their password, in place of an earlier link; at most 3 an hour for one
    /// user. Administrators only. The password that there is stays good until then.
    async fn create_password_reset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreatePasswordResetInput,
    ) -> Result<CreatePasswordResetPayload> {
        let ask = &Ask::of(ctx)?;
        let user = ask.named(&input.user_id);
        let done = passwords::create_reset(ask.actions(), ask.viewer(), user, ask.now());
        answer(done.await, |reset| async move {
            let base = &ask.services().public_url;
            Ok(CreatePasswordResetPayload {
                url: Some(format!("{base}/reset-password#token={}", reset.token)),
                expires_at: Some(reset.expires_at.into()),
                ..Default::default()
            })
        })
        .await
    }

    /// Sets a password by a one-time link; nobody needs to be signed in. It ends every session and API token of the user.
    async fn reset_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: ResetPasswordInput,
    ) -> Result<ResetPasswordPayload> {
        let services = services(ctx)?;
        let now = (services.clock)();
        let password = SecretString::from(input.password);
        let done = passwords::reset(&services.actions, &input.token, &password, now);
        answer(done.await, |()| async {
            Ok(ResetPasswordPayload::default())
        })
        .await
    }

    /// Changes one's own password. It ends every log-in of the user, this one too.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: ChangePasswordInput,
    ) -> Result<ChangePasswordPayload> {
        let ask = &Ask::of(ctx)?;
        let both = (
            SecretString::from(input.current),
            SecretString::from(input.new),
        );
        let done = passwords::change(ask.actions(), ask.viewer(), both, ask.now());
        answer(done.await, |()| async {
            Ok(ChangePasswordPayload::default())
        })
        .await
    }
}

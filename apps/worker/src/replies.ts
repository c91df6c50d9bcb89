import type { ClaimReply, RecordedReply, RegisterReply } from '#shared/messages/messages.js';

/** What the gateway answers to each request. */
export interface Replies {
  claim: ClaimReply;
  finished: RecordedReply;
  lost: RecordedReply;
  register: RegisterReply;
}

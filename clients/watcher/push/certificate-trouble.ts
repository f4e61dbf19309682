/**
 * Tells a server whose certificate is no good from a server that is not there: gRPC says UNAVAILABLE to both, and puts
 * what OpenSSL said into the details. Nothing is decided by it but the words and whether trying again can help.
 */
import { LockstepError } from '../../../common/ops/errors.ts';

/** Wrong until somebody changes something. */
const FOREIGN =
  /self[- ]signed certificate|unable to (?:get|verify)[^.;]*|certificate (?:signature failure|rejected|revoked|chain too long)|invalid CA certificate/i;
const MISNAMED = /does not match certificate's altnames[^;]*/i;
/** Passes with a renewal, or when a clock that was wrong at boot has been set. */
const UNTIMELY = /certificate has expired|certificate is not yet valid/i;

/**
 * The error that says so: UNAUTHENTICATED for a server that is not trusted here, SERVER_UNREACHABLE for one whose certificate is
 * out of its time; undefined when the failure was of another kind.
 * @param ca the file of trusted authorities that was given, if one was
 */
export function certificateTrouble(
  error: LockstepError,
  server: string,
  ca: string | undefined,
): LockstepError | undefined {
  if (error.reason !== 'SERVER_UNREACHABLE') return undefined;
  const refuse = (what: string) => new LockstepError('UNAUTHENTICATED', what, { cause: error });
  const foreign = FOREIGN.exec(error.message)?.[0];
  if (foreign !== undefined) {
    const by = ca === undefined ? 'an authority that this machine trusts' : `the authority in ${ca}`;
    return refuse(
      `the certificate of ${server} was not signed by ${by} (${foreign}); give the authority's with --ca, or the server's key with --fingerprint`,
    );
  }
  const misnamed = MISNAMED.exec(error.message)?.[0];
  if (misnamed !== undefined) {
    return refuse(
      `the certificate of ${server} is for another name (${misnamed.trim()}); give a name that it has with --server, or the server's key with --fingerprint`,
    );
  }
  const untimely = UNTIMELY.exec(error.message)?.[0];
  if (untimely === undefined) return undefined;
  return new LockstepError(
    'SERVER_UNREACHABLE',
    `the ${untimely} at ${server}; renew it with "sync-server cert", or set this machine's clock`,
    { cause: error },
  );
}

/** What grpc-js says when somebody took the connection and did not greet as HTTP/2 does. */
const NOT_GREETED = /Failed to connect \(|Protocol error \(/;
/** What OpenSSL says when somebody answered in the clear. */
const IN_THE_CLEAR = /wrong version number|packet length too long|tls_validate_record_header/;

/**
 * The error for one side that speaks TLS and another that does not; undefined when the failure was of another kind. It is tried
 * again: a server may be on its way up behind what answers.
 */
export function mismatchTrouble(error: LockstepError, server: string, usesTls: boolean): LockstepError | undefined {
  if (error.reason !== 'SERVER_UNREACHABLE' || !(usesTls ? IN_THE_CLEAR : NOT_GREETED).test(error.message))
    return undefined;
  return new LockstepError(
    'SERVER_UNREACHABLE',
    usesTls
      ? `what listens at ${server} does not speak TLS; give the server --tls-cert and --tls-key`
      : `what listens at ${server} does not answer to gRPC in the clear; if it has TLS, give --join, --ca or --fingerprint`,
  );
}

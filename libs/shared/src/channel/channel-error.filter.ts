import { Catch, type RpcExceptionFilter } from '@nestjs/common';
import { throwError, type Observable } from 'rxjs';

/**
 * Hands what a handler threw to the channel server as it is; Nest's own filter makes "Internal server error" of
 * it, which tells the other side nothing. To be put on every controller with message handlers.
 */
@Catch()
export class ChannelErrorFilter implements RpcExceptionFilter {
  catch(error: unknown): Observable<never> {
    return throwError(() => error);
  }
}

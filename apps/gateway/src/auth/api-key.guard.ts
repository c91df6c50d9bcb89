import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { Problem } from '../http/problem.js';
import { Keys } from './keys.js';
import { PUBLIC } from './public.decorator.js';
import { ROLE } from './role.decorator.js';
import { hasRole, type Role, type Viewer } from './viewer.js';

/** Lets in who has a key of the role that the handler asks for; handlers that are public let in everybody. */
@Injectable()
export class ApiKeyGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly keys: Keys,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') return true;
    const targets = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean | undefined>(PUBLIC, targets)) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const viewer = await this.identify(request);
    request.viewer = viewer;
    const role = this.reflector.getAllAndOverride<Role | undefined>(ROLE, targets);
    if (role && !hasRole(viewer, role)) throw forbidden(viewer, role);
    return true;
  }

  private async identify(request: FastifyRequest): Promise<Viewer> {
    const key = keyOf(request);
    if (key === undefined) throw unauthenticated('This request carries no API key');
    const viewer = await this.keys.verify(key);
    if (!viewer) throw unauthenticated('The API key of this request is not valid');
    return viewer;
  }
}

function keyOf({ headers }: FastifyRequest): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  const plain = headers['x-api-key'];
  return bearer ?? (typeof plain === 'string' ? plain.trim() : undefined);
}

/** The same whether the id is unknown, the secret wrong or the key revoked. */
function unauthenticated(what: string): Problem {
  return new Problem(
    401,
    'unauthenticated',
    `${what}; send "Authorization: Bearer lh_…". The first key is made at the first start of the gateway, ` +
      'which logs the file that it is in; who runs the gateway gives out others.',
    { headers: { 'www-authenticate': 'Bearer realm="labhand"' } },
  );
}

function forbidden(viewer: Viewer, role: Role): Problem {
  const detail = `This takes a key with the role ${role}; this one has the role ${viewer.role}.`;
  return new Problem(403, 'forbidden', detail);
}

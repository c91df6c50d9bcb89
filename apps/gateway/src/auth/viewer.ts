import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import '../http/fastify-request.js';

/** From the least to the most: each may do what those before it may. */
export const ROLES = ['submitter', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** Who asks. */
export interface Viewer {
  readonly keyId: string;
  readonly owner: string;
  readonly role: Role;
}

/** May this viewer do what that role may? */
export function hasRole(viewer: Viewer, role: Role): boolean {
  return ROLES.indexOf(viewer.role) >= ROLES.indexOf(role);
}

/** Everybody's jobs, or only the viewer's own? Others' do not exist for those who may not see them: 404, not 403. */
export function seesAll(viewer: Viewer): boolean {
  return hasRole(viewer, 'operator');
}

/** The viewer, as a parameter of a handler that is not public. */
export const CurrentViewer = createParamDecorator((_data: unknown, context: ExecutionContext): Viewer => {
  const { viewer } = context.switchToHttp().getRequest<FastifyRequest>();
  if (!viewer) throw new Error('a public route has no viewer');
  return viewer;
});

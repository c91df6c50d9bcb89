import { SetMetadata } from '@nestjs/common';
import type { Role as RoleName } from './viewer.js';

export const ROLE = 'labhand:role';

/** Who may call a handler at least; without it any key will do. */
export const Role = (role: RoleName) => SetMetadata(ROLE, role);

import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiExtension } from '@nestjs/swagger';

export const PUBLIC = 'labhand:public';
/** How the OpenAPI document learns of it; openapi.ts turns it into an empty `security`. */
export const PUBLIC_EXTENSION = 'x-labhand-public';

/** Opens a handler or controller to everybody: no API key is asked for. */
export const Public = () => applyDecorators(SetMetadata(PUBLIC, true), ApiExtension(PUBLIC_EXTENSION, true));

export declare const OUT: string;
